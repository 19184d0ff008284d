"""Figures of one llama.cpp replica, held against the engine's own timings and against GuideLLM in the same run.

    python benchmarks/inference.py [--guidellm PROGRAM] [--repetitions 3] [--seconds 15] [--json]

A model of random numbers is made, large enough that a token takes milliseconds: what a token costs is then the engine's
and not the loopback's. llama.cpp serves it by one thread on a port of loopback, without a key, since GuideLLM takes one
by its command line alone. `ai-how bench` asks it one question at a time and, after each run, GuideLLM asks it as many
questions of the same kind. Compared are the time of a token, the time to the first one and the whole latency: with the
engine's own where it tells them, and with GuideLLM's medians where it is found. Ends with 1 when one of them is more
than 5 % apart. It wants a machine with nothing else to do: what changes between the two runs is read as a disagreement.

GuideLLM: ``uv venv x && uv pip install --python x/bin/python guidellm``, and ``--guidellm x/bin/guidellm``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.work import Address
from ai_how.host import Environments, Folders
from ai_how.run import LocalGate, wait_until
from ai_how.spec.bench import parse_bench

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "contract"))
import tiny_gguf as tiny

APART = 0.05
SERVER = """
import signal, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], {"tiny"}
params.hostnames, params.port, params.n_ctx, params.n_parallel = ["127.0.0.1"], 0, 1024, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.ui = False
server = xllamacpp.Server(params)
print(server.listening_address, file=open(sys.argv[2], "w"))
signal.sigwait({signal.SIGTERM})
"""
RECIPE = """\
version: "1.0"
kind: bench
name: inference
repetitions: {repetitions}
target: {{api: openai, model: tiny, second: [{second}]}}
workload: {{prompts: {{words: 8, spread: 0, max_tokens: 48}}}}
load: {{arrivals: closed, clients: 1, seconds: {seconds}}}
"""


def write_model(path: Path, width: int = 768, inner: int = 3072, layers: int = 4) -> None:
    """A Llama of random numbers in GGUF, single bytes as tokens."""
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
            file.write(values.astype("<f4").tobytes())


@contextmanager
def replica(folder: Path) -> Iterator[Address]:
    """One llama.cpp on loopback."""
    python = Environments(LocalGate(), Folders.of_user(os.environ)).ensure("llama-cpp") / "bin" / "python"
    write_model(folder / "model.gguf")
    told = folder / "address"
    words = [str(python), "-c", SERVER, str(folder / "model.gguf"), str(told)]
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


def comparisons(figures: Mapping[str, float]) -> dict[str, float]:
    """Ours as a share of theirs, wherever both are told."""
    found = {
        "token, engine": figures["engine_agrees"],
        "first token, engine": figures["engine_prompt_agrees"],
    }
    for name in ("token.p50", "first_token.p50", "latency.p50"):
        if (theirs := figures.get(f"guidellm.{name}")) is not None:
            found[f"{name}, GuideLLM"] = figures[name] / theirs
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guidellm", type=Path)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    second = "guidellm" if asked.guidellm else ""
    if asked.guidellm:
        os.environ["PATH"] = f"{asked.guidellm.absolute().parent}{os.pathsep}{os.environ['PATH']}"
    text = RECIPE.format(repetitions=asked.repetitions, seconds=asked.seconds, second=second)
    with tempfile.TemporaryDirectory(prefix="aih-inference-") as name:
        folder = Path(name)
        with replica(folder) as address:
            result = Bench(parse_bench(text, "inference.yaml"), Place(LocalGate(), folder, address)).run()
    figures = {one.name: one.value for one in result.figures}
    notes: list[Any] = [run.notes.get("guidellm") for run in result.runs]
    found = comparisons(figures)
    agree = [run.tokens_agree for run in result.runs]
    facts = {"figures": figures, "ratios": found, "tokens_agree": agree, "guidellm": notes}
    if asked.json:
        print(json.dumps(facts, indent=1))
    else:
        print(f"a token takes {figures['token.p50']:.2f} ms here; tokenizer over server: {agree}")
        for label, share in found.items():
            print(f"  {label:<28} {share:7.3f}  {'ok' if abs(share - 1) <= APART else 'APART'}")
        if not asked.guidellm:
            print("  GuideLLM was not asked: --guidellm names it")
    return 0 if all(abs(share - 1) <= APART for share in found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
