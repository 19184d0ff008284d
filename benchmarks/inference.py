"""Figures of one llama.cpp replica, held against the engine's own timings and against GuideLLM in the same run.

    python benchmarks/inference.py [--guidellm PROGRAM] [--rounds 5] [--seconds 12] [--json]

A model of random numbers is made, large enough that a token takes some ten milliseconds: what a token costs is then the
engine's and not the loopback's. It answers in letters alone, so that every token is a piece of text by itself: a
model that says half a character has no text to send, and whoever waits for the first text measures the next token.
llama.cpp serves it by one thread on a core of its own, without a key, since these tools take one by the command line
alone, and without a prompt cache. On the other core `ai-how bench` asks it one question at a time, and then the other
tool does; so round by round. Both ask the same questions, each of as many tokens, and want as many tokens back.

What is compared is defined alike on both sides, each time per request: the first token from when the request
went out to the first piece of text; the token as what came after that, by the tokens that the server told less one; the
latency from when the request went out to the end of the answer. With the engine's own timings they are compared request
by request (its time of the prompt, and of all tokens after the first); with a tool, median by median in each round, and
what counts is the median of the rounds. Beside that both are held against what the engine itself took in the turn of
each, by its own counters (``by the engine``): where the first comparison is apart and this one is not, it was the
machine that changed between the turns, and both measured right. Ends with 1 when one of them is more than 5 % apart. It
wants a machine with nothing else to do.

GuideLLM: ``uv venv x && uv pip install --python x/bin/python guidellm``, and ``--guidellm x/bin/guidellm``.
A round takes about half a minute with one tool.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx
import numpy as np

from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.model import Result
from ai_how.bench.work import Address
from ai_how.host import Environments, Folders
from ai_how.run import Command, Completed, LocalGate, wait_until
from ai_how.spec.bench import parse_bench

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
params.ui, params.endpoint_metrics = False, True
server = xllamacpp.Server(params)
print(server.listening_address, file=open(sys.argv[2], "w"))
signal.sigwait({signal.SIGTERM})
"""
RECIPE = """\
version: "1.0"
kind: bench
name: inference
repetitions: {rounds}
again: 0
target: {{api: openai, model: tiny, second: [{second}]}}
workload: {{prompts: {{file: "{prompts}", max_tokens: {answer}, tokenizer: {tokenizer}}}}}
load: {{arrivals: closed, clients: 1, seconds: {seconds}}}
"""
#: Questions, the letters (and so the tokens) of each, and the tokens of an answer.
QUESTIONS, QUESTION, ANSWER = 40, 96, 16
LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1))
TOOLS = ("guidellm",)
#: The engine's own counters.
COUNTED = (
    "prompt_tokens_total",
    "prompt_seconds_total",
    "tokens_predicted_total",
    "tokens_predicted_seconds_total",
)
#: Both sides' names for a figure, and what it is called here.
COMPARED = {
    "token": ("token.p50", "token.p50"),
    "first token": ("first_token_sent.p50", "first_token.p50"),
    "latency": ("latency_sent.p50", "latency.p50"),
}


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


class Spent(NamedTuple):
    """What the engine says of a time: the tokens of prompts and of answers, and its seconds for each."""

    asked: float
    asked_seconds: float
    told: float
    told_seconds: float

    def since(self, before: Spent) -> Spent:
        return Spent(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def requests(self) -> float:
        return self.told / ANSWER

    def token(self) -> float:
        """Seconds a token after the first, in the mean."""
        return self.told_seconds / (self.told - self.requests)

    def prompt(self) -> float:
        """Seconds a prompt, in the mean: until the first token."""
        return self.asked_seconds / self.requests


class Watched(LocalGate):
    """Programs run as ever; what the engine did before each, and during it, is kept."""

    def __init__(self, address: Address) -> None:
        self._address, self._before = address, self._now(address)
        self._ours: Spent | None = None
        self.turns: dict[str, list[tuple[Spent, Spent]]] = {name: [] for name in TOOLS}

    @staticmethod
    def _now(address: Address) -> Spent:
        text = httpx.get(f"http://{address}/metrics", trust_env=False, timeout=30).raise_for_status().text
        found = dict(re.findall(r"^llamacpp:(\w+_total) ([\d.e+-]+)$", text, re.MULTILINE))
        return Spent(*(float(found[name]) for name in COUNTED))

    def run(self, command: Command, *, check: bool = True) -> Completed:
        if command.argv[0] not in TOOLS:
            return super().run(command, check=check)
        between = self._now(self._address)
        done = super().run(command, check=check)
        after = self._now(self._address)
        ours = between.since(self._before)
        if ours.told or self._ours is None:  # the second of two tools follows the first, and not us
            self._ours = ours
        self.turns[command.argv[0]].append((self._ours, after.since(between)))
        self._before = after
        return done

    def apart(self, tool: str) -> Iterator[str]:
        """What the engine itself took while we asked, as a share of what it took while that tool asked."""
        turns = self.turns[tool]
        for words, of in (("prompt", Spent.prompt), ("token", Spent.token)):
            each = " ".join(f"{of(ours) / of(theirs):.3f}" for ours, theirs in turns)
            yield f"  {tool}: the engine's own time of a {words}, ours over theirs, by round: {each}"
        each = ", ".join(
            f"{ours.asked / ours.requests:.1f} and {theirs.asked / theirs.requests:.1f}"
            for ours, theirs in turns
        )
        yield f"  {tool}: tokens of a question, ours and theirs, by round: {each}"


def comparisons(result: Result, gate: Watched, tools: Sequence[str]) -> dict[str, list[float]]:
    """Ours as a share of theirs in each round, wherever both are told.

    ``by the engine``: each side is taken as a share of what the engine itself took in the mean in that side's turn, so
    that a machine that was slower in one of them says nothing against the other.
    """
    rounds = [
        {name: value.value for name, value in run.values.items()}
        | {f"{name}.p50": run.histogram(name).percentile(0.5) / 1e6 for name in run.histograms}
        for run in result.runs
    ]
    found = {
        "token, engine": [one["engine_agrees"] for one in rounds],
        "first token, engine": [one["engine_prompt_agrees"] for one in rounds],
    }
    for tool in tools:
        for words, (ours, theirs) in COMPARED.items():
            found[f"{words}, {tool}"] = [
                one[ours] / one[f"{tool}.{theirs}"] for one in rounds if f"{tool}.{theirs}" in one
            ]
        turns = [theirs for _, theirs in gate.turns[tool]]
        if len(turns) == len(rounds):  # as many opinions as rounds
            for words, name, of, ours in (
                ("token", "token", Spent.token, "engine_agrees"),
                ("first token", "first_token", Spent.prompt, "engine_prompt_agrees"),
            ):
                found[f"{words}, by the engine, {tool}"] = [
                    one[ours] / (one[f"{tool}.{name}.mean"] / 1e3 / of(turn))
                    for one, turn in zip(rounds, turns, strict=True)
                    if f"{tool}.{name}.mean" in one
                ]
    return found


def measured(tools: Sequence[str], rounds: int, seconds: int) -> tuple[Result, Watched]:
    """The rounds: in each the engine is asked by us, then by the tools."""
    engine, askers = cores()
    with tempfile.TemporaryDirectory(prefix="aih-inference-") as name:
        folder = Path(name)
        write_questions(folder / "questions")
        text = RECIPE.format(
            rounds=rounds, seconds=seconds, second=", ".join(tools), prompts=folder / "questions", answer=ANSWER,
            tokenizer="server",
        )  # fmt: skip
        with replica(folder, engine) as address:
            os.sched_setaffinity(0, askers)
            gate = Watched(address)
            return Bench(parse_bench(text, "inference.yaml"), Place(gate, folder, address)).run(), gate


def said(result: Result, found: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """What is printed for people."""
    middle = {one.name: one.value for one in result.figures}
    agree = [run.tokens_agree for run in result.runs]
    yield (
        f"{len(result.runs)} rounds; here a token takes {middle['token.p50']:.2f} ms, the first one "
        f"{middle['first_token_sent.p50']:.1f} ms, an answer {middle['latency_sent.p50']:.1f} ms"
    )
    yield f"tokens, the tokenizer's over the server's: {agree}; {result.runs[0].cache}"
    times = [run.yardstick_ms for run in result.runs if run.yardstick_ms is not None]
    yield f"the yardstick took {min(times):.2f} to {max(times):.2f} ms before the rounds"
    for label, shares in found.items():
        if not shares:
            yield f"  {label:<38} no opinion: {result.runs[0].notes.get(label.rpartition(' ')[2])}"
            continue
        share = median(shares)
        each = " ".join(f"{one:.3f}" for one in shares)
        yield f"  {label:<38} {share:7.3f}  {'ok' if abs(share - 1) <= APART else 'APART'}   by round: {each}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guidellm", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    programs = {name: path for name in TOOLS if (path := getattr(asked, name))}
    for path in programs.values():
        os.environ["PATH"] = f"{path.absolute().parent}{os.pathsep}{os.environ['PATH']}"
    result, gate = measured(list(programs), asked.rounds, asked.seconds)
    found = comparisons(result, gate, list(programs))
    if asked.json:
        figures = {one.name: one.value for one in result.figures}
        notes: list[Any] = [dict(run.notes) for run in result.runs]
        print(json.dumps({"figures": figures, "ratios": found, "notes": notes}, indent=1))
    else:
        print("\n".join(said(result, found)))
        print("\n".join(line for tool in programs if gate.turns[tool] for line in gate.apart(tool)))
        if not programs:
            print("  no other tool was asked: --guidellm names one")
    return 0 if all(shares and abs(median(shares) - 1) <= APART for shares in found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
