"""Tools that ask a served model: GuideLLM, AIPerf, vLLM's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_how.bench.interfaces import Place
from ai_how.bench.model import Value
from ai_how.bench.prompts import prompt
from ai_how.bench.second.model import Tool, milliseconds
from ai_how.bench.work import first_of, fresh_lot
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe, Prompts

#: Requests of one opinion where the recipe has a closed loop.
_REQUESTS = 30
#: None of them may fetch anything, or tell anybody.
_QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1",
          "NO_PROXY": "*", "no_proxy": "*"}  # fmt: skip


def count_of(recipe: BenchRecipe) -> int:
    """Requests that a tool sends: as many as the load has, of a closed loop so many for each client. Pure."""
    load = recipe.load
    if load.arrivals == "closed" or load.rate is None:
        return _REQUESTS * load.clients
    return max(2, round(load.rate * load.seconds))


def write_prompts(recipe: BenchRecipe, folder: Path, key: str) -> Path:
    """The recipe's own prompts, one JSON object a line, as these tools read them."""
    asked = recipe.workload.prompts or Prompts()
    path = folder / "prompts.jsonl"
    # Prompts that nobody has asked, neither we nor another tool nor a run before: a prefix cache must not know them.
    first = first_of(fresh_lot(), 0)
    lines = (
        {key: prompt(asked, first + index), "output_tokens_count": asked.max_tokens}
        for index in range(count_of(recipe))
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def ask_guidellm(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    load = recipe.load
    if load.arrivals == "closed":
        profile = "kind=synchronous" if load.clients == 1 else f"kind=concurrent,streams={load.clients}"
    else:
        profile = f"kind={'poisson' if load.arrivals == 'poisson' else 'constant'},rate={load.rate:g}"
    words = (
        "guidellm", "run", "--backend", f"kind=openai_http,target=http://{place.address},model={recipe.target.model}",
        "--profile", profile, "--constraint", f"kind=max_requests,count={count_of(recipe)}",
        "--data", f"kind=json_file,path={write_prompts(recipe, folder, 'prompt')}",
        "--output", f"kind=json,path={folder / 'guidellm.json'}", "--disable-console",
    )  # fmt: skip
    return Command(words, env=_QUIET, cwd=folder, timeout=load.seconds + 600)


def parse_guidellm(text: str) -> Mapping[str, Value]:
    """Pure."""
    metrics = json.loads(text)["benchmarks"][0]["metrics"]

    def of(name: str) -> Any:
        return metrics[name]["successful"]

    return {
        "latency.p50": milliseconds(of("request_latency")["percentiles"]["p50"] * 1e3),
        "first_token.mean": milliseconds(of("time_to_first_token_ms")["mean"]),
        "first_token.p50": milliseconds(of("time_to_first_token_ms")["percentiles"]["p50"]),
        "token.mean": milliseconds(of("inter_token_latency_ms")["mean"]),
        "token.p50": milliseconds(of("inter_token_latency_ms")["percentiles"]["p50"]),
        "tokens": Value(value=of("output_tokens_per_second")["mean"], unit="tokens/s"),
    }


def ask_aiperf(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    load, asked = recipe.load, recipe.workload.prompts or Prompts()
    pace = (
        ("--concurrency", str(load.clients))
        if load.arrivals == "closed"
        else ("--request-rate", f"{load.rate:g}")
    )
    words = (
        "aiperf", "profile", "--model", recipe.target.model or "", "--url", f"http://{place.address}",
        "--endpoint-type", "chat", "--streaming", "--use-server-token-count", "--tokenizer", asked.tokenizer,
        "--input-file", str(write_prompts(recipe, folder, "text")), "--custom-dataset-type", "single_turn", *pace,
        "--request-count", str(count_of(recipe)), "--extra-inputs", f"max_tokens:{asked.max_tokens}",
        "--output-artifact-dir", str(folder), "--ui", "none",
    )  # fmt: skip
    return Command(words, env=_QUIET, cwd=folder, timeout=load.seconds + 600)


def parse_aiperf(text: str) -> Mapping[str, Value]:
    """Pure."""
    facts = json.loads(text)
    return {
        "latency.p50": milliseconds(facts["request_latency"]["p50"]),
        "first_token.mean": milliseconds(facts["time_to_first_token"]["avg"]),
        "first_token.p50": milliseconds(facts["time_to_first_token"]["p50"]),
        "token.mean": milliseconds(facts["inter_token_latency"]["avg"]),
        "token.p50": milliseconds(facts["inter_token_latency"]["p50"]),
        "tokens": Value(value=facts["output_token_throughput"]["avg"], unit="tokens/s"),
    }


def ask_vllm(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    load, asked = recipe.load, recipe.workload.prompts or Prompts()
    pace = (
        ("--max-concurrency", str(load.clients))
        if load.arrivals == "closed"
        else ("--request-rate", f"{load.rate:g}")
    )
    words = (
        "vllm", "bench", "serve", "--backend", "openai-chat", "--base-url", f"http://{place.address}",
        "--endpoint", "/v1/chat/completions", "--model", recipe.target.model or "", "--dataset-name", "custom",
        "--dataset-path", str(write_prompts(recipe, folder, "prompt")), "--custom-output-len", str(asked.max_tokens),
        "--num-prompts", str(count_of(recipe)), *pace, "--save-result", "--result-dir", str(folder),
        "--result-filename", "vllm.json",
    )  # fmt: skip
    key = {"OPENAI_API_KEY": place.token} if place.token else {}
    return Command(words, env={**_QUIET, **key}, cwd=folder, timeout=load.seconds + 600)


def parse_vllm(text: str) -> Mapping[str, Value]:
    """Pure."""
    facts = json.loads(text)
    return {
        "first_token.p50": milliseconds(facts["median_ttft_ms"]),
        "token.mean": milliseconds(facts["mean_tpot_ms"]),
        "token.p50": milliseconds(facts["median_tpot_ms"]),
        "throughput": Value(value=facts["request_throughput"], unit="1/s"),
        "tokens": Value(value=facts["output_throughput"], unit="tokens/s"),
    }


TOOLS = (
    Tool("guidellm", "guidellm", ("openai",), ask_guidellm, parse_guidellm, "guidellm.json", keyless=True),
    Tool(
        "aiperf", "aiperf", ("openai",), ask_aiperf, parse_aiperf, "profile_export_aiperf.json", keyless=True
    ),
    Tool("vllm", "vllm", ("openai",), ask_vllm, parse_vllm, "vllm.json"),
)
