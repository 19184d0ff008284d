"""What a factory offers for storage, retrieval and inference, and what it was measured at: a page of the docs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Offer:
    """One service: the API it speaks, how AI-HOW brings it up, and the shipped recipe that measures it."""

    kind: str
    name: str
    api: str
    deploy: str
    recipe: str | None
    figures: tuple[str, ...] = ()


OFFERS = (
    Offer(
        "Inference",
        "A served model",
        "OpenAI: `/v1/chat/completions`, streamed",
        "`ai-how serve MODEL`, or `serving:` in the site's file",
        "chat",
        ("first_token.p50", "token.p50", "tokens"),
    ),
    Offer(
        "Inference",
        "The same model",
        "Ollama: `/api/chat`, streamed",
        "the same; the gateway speaks both",
        "ollama",
        ("first_token.p50", "token.p50", "tokens"),
    ),
    Offer(
        "Inference", "Embeddings", "OpenAI: `/v1/embeddings`", "the same", "embeddings", ("texts", "tokens")
    ),
    Offer(
        "Inference",
        "Retrieval-augmented answers",
        "both of them, one after the other",
        "the same",
        "rag",
        ("latency.p50", "embed.p50", "answer.p50"),
    ),
    Offer(
        "Retrieval",
        "PostgreSQL with pgvector",
        "SQL: `ORDER BY v <-> ...`",
        "beside the benchmark, from the environment `retrieval`",
        "vectors-pgvector",
        ("ingest", "recall.ef=32", "throughput.ef=32"),
    ),
    Offer(
        "Retrieval",
        "Chroma",
        "Python, in the process",
        "a library of the environment `retrieval`",
        "vectors-chroma",
        ("ingest", "recall.ef=32", "throughput.ef=32"),
    ),
    Offer(
        "Retrieval",
        "FAISS",
        "Python, in the process",
        "a library of the environment `retrieval`",
        "vectors-faiss",
        ("ingest", "recall.ef=32", "throughput.ef=32"),
    ),
    Offer(
        "Retrieval",
        "LanceDB",
        "Python, in the process",
        "a library of the environment `retrieval`",
        "vectors-lancedb",
        ("ingest", "recall.probes=32", "throughput.probes=32"),
    ),
    Offer("Retrieval", "Qdrant", "REST", "not by AI-HOW: `target.url` names a server", None),
    Offer(
        "Retrieval",
        "Milvus",
        "gRPC, by its own client",
        "Milvus Lite, a library of the environment `retrieval`; `target.url` names a server",
        "vectors-milvus",
        ("ingest", "recall.ef=32", "throughput.ef=32"),
    ),
    Offer(
        "Storage",
        "Files",
        "POSIX",
        "the file system that is there",
        "file-random-read",
        ("read_operations", "read_bandwidth", "read_latency.p99"),
    ),
    Offer(
        "Storage",
        "Metadata",
        "POSIX",
        "the file system that is there",
        "metadata",
        ("creates", "stats", "removes"),
    ),
    Offer(
        "Storage",
        "Checkpoints",
        "PyTorch: `torch.save`, `torch.load`",
        "the file system that is there",
        "checkpoint",
        ("save_bandwidth", "load_bandwidth"),
    ),
    Offer(
        "Storage",
        "Samples for training",
        "PyTorch: `DataLoader`",
        "the file system that is there",
        "data-loader",
        ("samples", "bandwidth"),
    ),
    Offer(
        "Storage",
        "Objects",
        "S3",
        "the service `object-store` (SeaweedFS) of each site",
        "objects-get",
        ("throughput", "latency.p99", "bandwidth"),
    ),
    Offer(
        "Storage", "Multipart uploads", "S3", "the same", "objects-multipart", ("bandwidth", "complete.p50")
    ),
    Offer(
        "Storage",
        "SQL",
        "PostgreSQL",
        "beside the benchmark, from the environment `retrieval`",
        "sql",
        ("throughput", "latency.p99", "skipped"),
    ),
    Offer(
        "Scheduler",
        "Slurm",
        "`sbatch`, `scancel`, `squeue`",
        "`ai-how up`; the recipe emulates a cluster",
        "scheduler",
        ("submits", "start.p50", "cancels"),
    ),
    Offer(
        "Training",
        "Data-parallel training",
        "PyTorch DDP: a train recipe of `ai-how train`",
        "a job in the environment `torch`",
        "training",
        ("samples.1", "samples.2", "efficiency.2"),
    ),
    Offer(
        "Training",
        "All-reduce",
        "PyTorch distributed: gloo, NCCL",
        "a job in the environment `torch`",
        "all-reduce",
        ("bus_bandwidth.1M", "all_reduce.4K.p50"),
    ),
    Offer(
        "Together",
        "Checkpoints while objects are read",
        "S3 and PyTorch",
        "a site",
        "interference",
        ("first.latency.p50.ratio", "second.save_bandwidth.ratio"),
    ),
)


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page. ``results`` are what ``benchmarks/survey.py`` has kept, by the recipe's name."""
    parts = [
        "# What a factory offers",
        "The services that a site has for inference, retrieval and storage, the API of each, how it is brought up, and "
        "what it was measured at on the reference machine: two CPU cores, 24 GB of memory, no GPU. A figure of that "
        "machine says that the benchmark runs and how such figures look; it says nothing of anybody's centre. Measure "
        "your own: `ai-how bench run examples/bench/NAME.yaml`, whose keys are in [bench.yaml](bench-yaml.md); what "
        "each figure is stands in [the kinds of targets](bench-targets.md).",
    ]
    for kind in dict.fromkeys(offer.kind for offer in OFFERS):
        parts.append(f"## {kind}")
        parts.append("\n".join(_table([offer for offer in OFFERS if offer.kind == kind], results)))
    parts.append("## How it was measured")
    parts.append("\n".join(_sources(results)))
    return "\n\n".join(parts) + "\n"


def _table(offers: Sequence[Offer], results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| service | API | how it comes up | recipe | measured here |"
    yield "|---|---|---|---|---|"
    for offer in offers:
        recipe = f"`{offer.recipe}.yaml`" if offer.recipe else "none shipped"
        yield f"| {offer.name} | {offer.api} | {offer.deploy} | {recipe} | {measured(offer, results)} |"


def measured(offer: Offer, results: Mapping[str, Mapping[str, Any]]) -> str:
    """An offer's figures in words; one whose verdict failed is struck through."""
    found = results.get(offer.recipe or "")
    if found is None:
        return "not yet"
    figures = {one["name"]: one for one in found["figures"]}
    told = [_figure(figures[name]) for name in offer.figures if name in figures]
    return "; ".join(told) or "not yet"


def _figure(one: Mapping[str, Any]) -> str:
    text = f"{one['name']} {_number(one['value'])} {one['unit']}"
    return text if one["ok"] else f"<s>{text}</s>"


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 10 else 3}f}"


def _sources(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not results:
        yield "Nothing was measured yet."
        return
    yield "`.venv/bin/python benchmarks/survey.py` runs the recipes one after the other against a site of its own and"
    yield "keeps the figures in `benchmarks/results/`. A figure that is struck through failed its verdict, and is shown"
    yield "all the same, so that nobody takes it for a better one.\n"
    yield "| recipe | command | when | commit |"
    yield "|---|---|---|---|"
    for name, one in sorted(results.items()):
        yield f"| `{name}.yaml` | `{one['command']}` | {one['when']} | `{(one['commit'] or 'unknown')[:10]}` |"


def compact(facts: Mapping[str, Any], command: str, when: str) -> dict[str, Any]:
    """What is kept of a result: its figures, and where they come from."""
    keep = ("name", "unit", "value", "low", "high", "ok", "reasons")
    return {
        "command": command,
        "when": when,
        "commit": facts["environment"].get("commit"),
        "service": facts["service"],
        "figures": [{key: one[key] for key in keep} for one in facts["figures"]],
    }
