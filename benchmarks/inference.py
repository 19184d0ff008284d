"""Figures of one llama.cpp replica, held against the engine's own timings and against GuideLLM in the same run.

    python benchmarks/inference.py [--guidellm PROGRAM] [--rounds 5] [--json]

A model of random numbers is made, large enough that a token takes some ten milliseconds: what a token costs is then the
engine's and not the loopback's. It answers in letters alone, so that every token is a piece of text by itself: a
model that says half a character has no text to send, and whoever waits for the first text measures the next token.
llama.cpp serves it by one thread on a core of its own, without a key, since these tools take one by the command line
alone, and without a prompt cache, one request after the other. On the other core `ai-how bench` asks it alone first,
which is held against the engine's own timings; then both ask it at the same time, each a new question as soon as it has
its answer. So the engine answers them in turns of half a second, and each question waits for the other's answer: what
the machine does meanwhile comes to both alike. (Minutes apart, the engine's own time of a token differs by a quarter
here. With two answers at once, one side's questions always fell into the other's answers.) Both ask the same kind of
question, each of as many tokens, and want as many tokens back. What was asked while the other did not ask, as GuideLLM
starts, is left out.

What is compared is defined alike on both sides, each time per request: the first token from when the request
went out to the first piece of text; the token as what came after that, by the tokens that the server told less one; the
latency from when the request went out to the end of the answer. With the engine's own timings they are compared request
by request (its time of the prompt, and of all tokens after the first); with GuideLLM, median by median in each round,
and what counts is the median of the rounds. Ends with 1 when one of them is more than 5 % apart. It wants a machine
with nothing else to do.

GuideLLM: ``uv venv x && uv pip install --python x/bin/python guidellm``, and ``--guidellm x/bin/guidellm``.
A round takes about a minute and a half.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from ai_how.bench.control import Bench
from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.interfaces import Place
from ai_how.bench.model import Result
from ai_how.bench.second.inference import ask_guidellm
from ai_how.bench.work import Address
from ai_how.host import Environments, Folders
from ai_how.run import LocalGate, wait_until
from ai_how.spec.bench import BenchRecipe, parse_bench

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "contract"))
import tiny_gguf as tiny

APART = 0.05
SERVER = """
import os, signal, sys, xllamacpp
os.sched_setaffinity(0, {int(sys.argv[3])})
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], {"tiny"}
params.hostnames, params.port, params.n_ctx, params.n_parallel = ["127.0.0.1"], 0, 1024, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.cache_prompt, params.cache_ram_mib = False, 0
params.ui = False
server = xllamacpp.Server(params)
print(server.listening_address, file=open(sys.argv[2], "w"))
signal.sigwait({signal.SIGTERM})
"""
RECIPE = """\
version: "1.0"
kind: bench
name: inference
repetitions: 1
again: 0
target: {{api: openai, model: tiny}}
workload: {{prompts: {{file: "{prompts}", max_tokens: {answer}, tokenizer: server}}}}
load: {{arrivals: closed, clients: 1, seconds: {seconds}}}
"""
#: Questions, the letters (and so the tokens) of each, and the tokens of an answer.
QUESTIONS, QUESTION, ANSWER = 40, 96, 16
LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1))
#: Seconds of our load alone; and beside GuideLLM, which takes twenty to start and then asks thirty questions.
ALONE, TOGETHER = 12, 65
COMPARED = ("token", "first token", "latency")


def write_model(path: Path, width: int = 768, inner: int = 3072, layers: int = 4) -> None:
    """A Llama of random numbers in GGUF, single bytes as tokens, of which the letters alone are ever the likeliest."""
    tokens = [*tiny._byte_letters(), "<|end|>"]
    facts = [
        tiny._text("general.architecture", "llama"), tiny._text("general.name", "random"),
        tiny._number("llama.context_length", 1024), tiny._number("llama.embedding_length", width),
        tiny._number("llama.block_count", layers), tiny._number("llama.feed_forward_length", inner),
        tiny._number("llama.attention.head_count", 8), tiny._number("llama.attention.head_count_kv", 8),
        tiny._number("llama.rope.dimension_count", width // 8), tiny._number("llama.vocab_size", len(tokens)),
        tiny._key("llama.attention.layer_norm_rms_epsilon", tiny._FLOAT32) + struct.pack("<f", 1e-5),
        tiny._text("tokenizer.ggml.model", "gpt2"), tiny._text("tokenizer.ggml.pre", "gpt-2"),
        tiny._list("tokenizer.ggml.tokens", tiny._STRING, [tiny._string(token) for token in tokens]),
        tiny._list("tokenizer.ggml.token_type", tiny._INT32, [struct.pack("<i", 1)] * 256 + [struct.pack("<i", 3)]),
        tiny._list("tokenizer.ggml.merges", tiny._STRING, [tiny._string("a b")]),
        tiny._number("tokenizer.ggml.bos_token_id", 256), tiny._number("tokenizer.ggml.eos_token_id", 256),
        tiny._text("tokenizer.chat_template", tiny._TEMPLATE),
    ]  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(tokens), width), "output.weight": (len(tokens), width),
        "output_norm.weight": (width,),
    }  # fmt: skip
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            shapes[f"blk.{layer}.{name}.weight"] = (width,)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (width, width)
        for name in ("ffn_gate", "ffn_up"):
            shapes[f"blk.{layer}.{name}.weight"] = (inner, width)
        shapes[f"blk.{layer}.ffn_down.weight"] = (width, inner)
    chance, table, place = np.random.default_rng(1), b"", 0
    for name, shape in shapes.items():
        table += tiny._string(name) + struct.pack("<I", len(shape))
        table += b"".join(struct.pack("<Q", size) for size in reversed(shape)) + struct.pack("<IQ", 0, place)
        place += int(np.prod(shape)) * 4
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), len(facts))
    with path.open("wb") as file:
        file.write(tiny._aligned(head + b"".join(facts) + table))
        for name, shape in shapes.items():
            values = np.ones(shape) if name.endswith("norm.weight") else chance.normal(scale=0.02, size=shape)
            if name == "output.weight":  # all others come to 0, and the largest of 52 random numbers is above
                values[[token for token in range(len(tokens)) if token not in set(LETTERS)]] = 0
            file.write(values.astype("<f4").tobytes())


def write_questions(path: Path) -> None:
    """Random letters: as many tokens each, and no two begin alike."""
    chance = random.Random(1)
    lines = ("".join(chance.choices(LETTERS.decode(), k=QUESTION)) + "\n" for _ in range(QUESTIONS))
    path.write_text("".join(lines), encoding="ascii")


def cores() -> tuple[int, set[int]]:
    """The engine's, and those of whoever asks: the same one where there is one alone."""
    own = sorted(os.sched_getaffinity(0))
    return own[0], set(own[1:] or own)


@contextmanager
def replica(folder: Path, core: int) -> Iterator[Address]:
    """One llama.cpp on loopback."""
    python = Environments(LocalGate(), Folders.of_user(os.environ)).ensure("llama-cpp") / "bin" / "python"
    write_model(folder / "model.gguf")
    told = folder / "address"
    words = [str(python), "-c", SERVER, str(folder / "model.gguf"), str(told), str(core)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        text = wait_until(
            lambda: told.exists() and told.read_text().strip(), what="the start of llama.cpp", timeout=120
        )
        host, _, port = str(text).removeprefix("http://").rpartition(":")
        yield Address(host, int(port))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


class Request(NamedTuple):
    """One request: when it went out and when it was answered, on this machine's monotonic clock, and what it took.

    All in seconds; ``took`` by the names of what is compared.
    """

    sent: float
    done: float
    took: Mapping[str, float]


class Kept:
    """A log that keeps the single requests of the last run."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def samples(self, run: int, exchanges: Sequence[Exchange]) -> None:
        self.requests = [
            Request(one.sent, one.done, {
                "token": (one.last - one.first) / (one.tokens - 1),
                "first token": one.first - one.sent,
                "latency": one.done - one.sent,
            })
            for one in exchanges
            if isinstance(one, ChatExchange) and one.good and one.tokens == ANSWER
        ]  # fmt: skip

    def keep(self, result: Result) -> None:
        """The figures are taken from what the run gives back."""


def of_guidellm(text: str, ahead: float) -> list[Request]:
    """The requests in GuideLLM's own result, whose clock is ``ahead`` of the monotonic one. Pure."""
    return [
        Request(one["info"]["timings"]["request_start"] - ahead, one["info"]["timings"]["request_end"] - ahead, {
            "token": one["inter_token_latency_ms"] / 1e3,
            "first token": one["time_to_first_token_ms"] / 1e3,
            "latency": one["request_latency"],
        })
        for one in json.loads(text)["benchmarks"][0]["requests"]["successful"]
    ]  # fmt: skip


def both(ours: Sequence[Request], theirs: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """What each side asked while the other did. Pure."""
    begin = max(min(one.sent for one in side) for side in (ours, theirs))
    end = min(max(one.done for one in side) for side in (ours, theirs))
    left = [[one for one in side if one.sent >= begin and one.done <= end] for side in (ours, theirs)]
    return left[0], left[1]


class Round(NamedTuple):
    """What one round says: what was measured alone, ours as a share of the engine's and of GuideLLM's, and the requests
    of both sides."""

    result: Result
    shares: dict[str, float]
    requests: tuple[int, int]


def measured(folder: Path, address: Address, tool: Path | None) -> Round:
    """One round: the engine is asked by us alone, and then by us and by GuideLLM."""
    place, kept = Place(LocalGate(), folder, address), Kept()
    result = Bench(recipe_of(folder, ALONE), place).run()
    (run,) = result.runs
    shares = {
        "token, engine": run.values["engine_agrees"].value,
        "first token, engine": run.values["engine_prompt_agrees"].value,
    }
    if tool is None:
        return Round(result, shares, (run.good, 0))
    with ThreadPoolExecutor(1) as beside:
        recipe = recipe_of(folder, TOGETHER)
        asked = beside.submit(place.gate.run, ask_guidellm(recipe, place, folder))
        Bench(recipe, place, log=kept).run()
        asked.result()
    told = (folder / "guidellm.json").read_text(encoding="utf-8")
    ours, theirs = both(kept.requests, of_guidellm(told, time.time() - time.monotonic()))
    for name in COMPARED:
        middle = [median(one.took[name] for one in side) for side in (ours, theirs)]
        shares[f"{name}, guidellm"] = middle[0] / middle[1]
    return Round(result, shares, (len(ours), len(theirs)))


def recipe_of(folder: Path, seconds: int) -> BenchRecipe:
    text = RECIPE.format(seconds=seconds, prompts=folder / "questions", answer=ANSWER)
    return parse_bench(text, "inference.yaml")


def said(rounds: Sequence[Round], found: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """What is printed for people."""
    middle = {one.name: one.value for one in rounds[-1].result.figures}
    runs = [run for one in rounds for run in one.result.runs]
    yield (
        f"{len(rounds)} rounds; alone, in the last one, a token took {middle['token.p50']:.2f} ms, the first one "
        f"{middle['first_token_sent.p50']:.1f} ms, an answer {middle['latency_sent.p50']:.1f} ms"
    )
    yield f"tokens, the tokenizer's over the server's: {[run.tokens_agree for run in runs]}; {runs[0].cache}"
    yield f"requests compared, ours and theirs, by round: {[one.requests for one in rounds]}"
    for label, shares in found.items():
        share = median(shares)
        each = " ".join(f"{one:.3f}" for one in shares)
        yield f"  {label:<22} {share:7.3f}  {'ok' if abs(share - 1) <= APART else 'APART'}   by round: {each}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guidellm", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    tool = asked.guidellm
    if tool is not None:
        os.environ["PATH"] = f"{tool.absolute().parent}{os.pathsep}{os.environ['PATH']}"
    engine, askers = cores()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="aih-inference-") as name:
        folder = Path(name)
        write_questions(folder / "questions")
        with replica(folder, engine) as address:
            os.sched_setaffinity(0, askers)
            for number in range(asked.rounds):
                rounds.append(measured(folder, address, tool))
                print(f"round {number + 1} of {asked.rounds} is measured", file=sys.stderr)
    found = {name: [one.shares[name] for one in rounds] for name in rounds[0].shares}
    if asked.json:
        print(json.dumps({"ratios": found, "requests": [one.requests for one in rounds]}, indent=1))
    else:
        print("\n".join(said(rounds, found)))
        if tool is None:
            print("  no other tool was asked: --guidellm names one")
    return 0 if all(abs(median(shares) - 1) <= APART for shares in found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
