"""Vector stores: how fast vectors go in, how big they are there, and what recall costs.

The store runs in a program of its own, in the runtime environment `retrieval`, and knows nothing of the truth: that is
computed here, over every vector, and what the store returned is held against it. Each setting of an approximate search
is a point of the recall-throughput curve.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ai_how.bench import schedule
from ai_how.bench.histogram import Histogram
from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.steady import judge
from ai_how.bench.targets import vectors
from ai_how.bench.targets.driven import PROBES, Driven, Nothing, python_of, seconds_histogram
from ai_how.bench.targets.fio import working_folder
from ai_how.bench.targets.job import Ran, runner
from ai_how.bench.targets.postgresql import ENVIRONMENT, beside
from ai_how.bench.targets.vectors import Dataset, Truth
from ai_how.bench.verdict import BUSY
from ai_how.errors import CouldNotTell, NotFound, UsageError
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Retrieval as Asked

#: Stores that are somebody's server; pgvector and Milvus are one only when the recipe names it.
SERVERS = ("qdrant",)
#: Stores that are in the client's own process.
LIBRARIES = ("faiss", "chroma", "lancedb")
#: What a server's key comes by; handed on to the job, and in no result.
_KEYS = {"qdrant": "QDRANT_API_KEY", "milvus": "MILVUS_TOKEN"}
#: The setting of pgvector's own server: an index of some size is built in memory.
_POSTGRES = {"maintenance_work_mem": "256MB", "shared_buffers": "256MB"}


class VectorStore:
    """A vector store."""

    api = "retrieval"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = wanted(recipe)
        where = recipe.target.url or "in the client's job"
        return Nothing({"store": asked.store, "index": asked.index, "vectors": asked.vectors, "where": where})

    def client(self, recipe: BenchRecipe, place: Place) -> Searches:
        return Searches(recipe, place)


def wanted(recipe: BenchRecipe) -> Asked:
    """The recipe's section. Raises :class:`UsageError` where it is not there."""
    if recipe.workload.retrieval is None:
        raise UsageError("the recipe names no store", todo="Write `workload: {retrieval: {store: faiss}}`.")
    return recipe.workload.retrieval


class Searches(Driven):
    """The vectors and the truth are made once, and serve every repetition."""

    def __init__(self, recipe: BenchRecipe, place: Place) -> None:
        super().__init__(recipe, place, self._once)
        asked = wanted(recipe)
        if asked.store in SERVERS and recipe.target.url is None:
            raise UsageError(f"{asked.store} is a server's", todo="Write its address to `target.url`.")
        self._data = dataset(asked)
        self._truths = {
            filtered: vectors.exact(self._data, asked.k, filtered=filtered)
            for filtered in ((False, True) if asked.filtered else (False,))
        }

    def _once(self, recipe: BenchRecipe, place: Place, number: int) -> Measured:
        asked, data = wanted(recipe), self._data
        with working_folder(None, recipe, place) as folder:
            np.savez(folder / "data.npz", vectors=data.vectors, labels=data.labels, queries=data.queries,
                     wanted=data.wanted)  # fmt: skip
            question, answer = folder / "asked.json", folder / "answer.json"
            question.write_text(json.dumps(question_of(asked, recipe, folder, number)), encoding="utf-8")
            ran = self._run(recipe, place, folder, question, answer)
            try:
                facts = json.loads(answer.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise CouldNotTell("the store's program left no answer", detail=ran.done.tail()) from error
        return judged(facts, asked, recipe, data, self._truths, {"job": ran.job, "node": ran.node})

    def _run(self, recipe: BenchRecipe, place: Place, folder: Path, question: Path, answer: Path) -> Ran:
        asked = wanted(recipe)
        words = (python_of(place, ENVIRONMENT), str(PROBES / "retrieval.py"), str(question), str(answer))
        run = runner(place, recipe.target.job, recipe.name)
        limit = 3600.0 + recipe.load.seconds * (2 * len(asked.settings) + 1)
        if asked.store == "pgvector" and recipe.target.url is None:
            (command,) = beside(place, None, (words,), folder, settings=_POSTGRES, timeout=limit)
            return run(command)
        key = _KEYS.get(asked.store)
        env = {key: place.token} if key and place.token else {}
        return run(Command(words, env=env, cwd=PROBES, timeout=limit))


def dataset(asked: Asked) -> Dataset:
    """The vectors of a file, or generated ones. Raises :class:`NotFound` or :class:`UsageError`."""
    if asked.file is None:
        return vectors.clustered(asked.vectors, asked.dimension, asked.queries, asked.labels, asked.seed)
    try:
        found = np.load(asked.file, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise NotFound("the file of vectors cannot be read", where=asked.file, cause=str(error)) from error
    if found.ndim != 2 or len(found) < asked.vectors + asked.queries or found.shape[1] != asked.dimension:
        raise UsageError(
            f"the file holds an array of the shape {found.shape}",
            where=asked.file,
            todo=f"{asked.vectors + asked.queries:,} rows of {asked.dimension} are needed: queries stand last.",
        )
    rows = np.asarray(found[: asked.vectors + asked.queries], dtype=np.float32)
    chance = np.random.default_rng(asked.seed)
    return Dataset(
        rows[: asked.vectors],
        chance.integers(asked.labels, size=asked.vectors),
        rows[asked.vectors :],
        chance.integers(asked.labels, size=asked.queries),
    )


def question_of(asked: Asked, recipe: BenchRecipe, folder: Path, number: int) -> dict[str, Any]:
    """What the store's program is asked. Pure."""
    load = recipe.load
    closed = load.arrivals == "closed"
    return {
        "store": asked.store,
        "index": asked.index,
        "folder": str(folder),
        "server": recipe.target.url or "",
        "dimension": asked.dimension,
        "settings": [] if asked.index == "flat" else list(asked.settings),
        "filtered": asked.filtered,
        "k": asked.k,
        "batch": asked.batch,
        "links": asked.links,
        "breadth": asked.breadth,
        "lists": min(asked.lists, asked.vectors),
        "clients": load.clients if closed else load.connections,
        "seconds": load.seconds,
        "due": None if closed else list(schedule.of_load(load, number)),
    }


def judged(
    facts: Mapping[str, Any],
    asked: Asked,
    recipe: BenchRecipe,
    data: Dataset,
    truths: Mapping[bool, Truth],
    notes: Mapping[str, Any],
) -> Measured:
    """A store's answer held against the truth. Pure. Raises :class:`CouldNotTell` for one that is not whole."""
    try:
        return _judged(facts, asked, recipe, data, truths, notes)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CouldNotTell("the store's answer is not what it should be", cause=repr(error)) from error


def _judged(
    facts: Mapping[str, Any],
    asked: Asked,
    recipe: BenchRecipe,
    data: Dataset,
    truths: Mapping[bool, Truth],
    notes: Mapping[str, Any],
) -> Measured:
    values = dict(_of_ingest(facts, asked))
    histograms: dict[str, Histogram] = {"ingest_batch": seconds_histogram(facts["batch_seconds"])}
    errors: Counter[str] = Counter()
    reasons: list[str] = []
    doubts: dict[str, str] = {}
    curve: list[dict[str, Any]] = []
    sent = good = 0
    for point in facts["points"]:
        filtered = bool(point["filtered"])
        name = name_of(point["setting"], filtered, asked)
        found = vectors.recall(data, truths[filtered], table(point["found"], asked.k, len(data.queries)))
        of_point, why = _of_point(point["taken"], asked)
        histograms[f"latency{name}"], rate = of_point, _rate(point["taken"])
        errors.update(kind for kind in point["taken"]["error"] if kind)
        sent += len(point["taken"]["due"])
        good += sum(not kind for kind in point["taken"]["error"])
        values[f"throughput{name}"] = Value(value=rate, unit="1/s")
        if found.value is None:
            reasons.append(
                f"no query of{name or ' the search'} has any true neighbour: there is no recall to tell"
            )
        else:
            values[f"recall{name}"] = Value(value=found.value, unit="share")
        if why:
            # Recall does not hang on how steady the times are.
            doubts |= {f"latency{name}": why, f"throughput{name}": why}
        curve.append({"setting": point["setting"], "filtered": filtered, "recall": found.value, "throughput": rate,
                      "queries": found.queries, "without_truth": found.without_truth,
                      **{label: of_point.percentile(share) / 1e6 for label, share in
                         (("p50_ms", 0.5), ("p99_ms", 0.99)) if len(of_point)}})  # fmt: skip
    return Measured(
        seconds=sum(max(point["taken"]["done"], default=0.0) for point in facts["points"]),
        histograms=histograms,
        values=values,
        sent=sent,
        good=good,
        errors=dict(errors),
        cache="warm",
        reasons=tuple(reasons),
        doubts=doubts,
        notes={**notes, "version": facts["version"], "curve": curve, "k": asked.k},
    )


def name_of(setting: int | None, filtered: bool, asked: Asked) -> str:
    """What stands behind the name of a figure: the setting, and whether there was a filter. Pure."""
    word = {"hnsw": "ef", "ivf": "probes"}.get(asked.index, "")
    return ("" if setting is None else f".{word}={setting}") + (".filtered" if filtered else "")


def _of_ingest(facts: Mapping[str, Any], asked: Asked) -> Iterator[tuple[str, Value]]:
    yield "ingest", Value(value=asked.vectors / max(facts["ingest_seconds"], 1e-9), unit="vectors/s")
    yield "build", Value(value=facts["build_seconds"], unit="s", better="lower")
    yield "ready", Value(value=facts["ingest_seconds"] + facts["build_seconds"], unit="s", better="lower")
    if facts["stored_bytes"] is not None:
        yield "stored", Value(value=facts["stored_bytes"] / 2**20, unit="MiB", better="lower")
    if asked.store in LIBRARIES:
        yield "resident", Value(value=facts["resident_bytes"] / 2**20, unit="MiB", better="lower")


def table(rows: Sequence[Sequence[int]], k: int, queries: int) -> vectors.Ids:
    """Rows of ids as a table, ``-1`` where a row is short. Pure. Raises :class:`ValueError` for the wrong number."""
    if len(rows) != queries:
        raise ValueError(f"{len(rows)} answers to {queries} queries")
    found = np.full((queries, k), -1, dtype=np.int64)
    for at, row in enumerate(rows):
        found[at, : len(row)] = row[:k]
    return found


def _of_point(taken: Mapping[str, Any], asked: Asked) -> tuple[Histogram, str]:
    """Latencies from when each query was due, warm-up cut; and why they are no steady ones, if they are not."""
    times = [
        done - due
        for due, done, error in zip(taken["due"], taken["done"], taken["error"], strict=True)
        if not error
    ]
    steady = judge(times)
    why = _of_client(taken, asked) if steady.ok else f"no steady state: {steady.why}"
    return seconds_histogram(times[steady.cut :]), why


def _of_client(taken: Mapping[str, Any], asked: Asked) -> str:
    """What there is against the client of a store that is no library: Python runs one of its threads at a time."""
    used = taken.get("cpu_seconds", 0.0) / max(max(taken["done"], default=0.0), 1e-9)
    if asked.store in LIBRARIES or used <= BUSY:
        return ""
    return f"the client used {used:.0%} of a core, and has no more; {BUSY:.0%} is the most"


def _rate(taken: Mapping[str, Sequence[Any]]) -> float:
    """Good answers a second, over all the time that it took."""
    good = sum(not error for error in taken["error"])
    return good / max(taken["done"], default=0.0) if good else 0.0


TARGET = VectorStore()
