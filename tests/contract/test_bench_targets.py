"""Every kind of target keeps the framework's contract: one class, run for each of them against the real thing."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ai_how.bench import interfaces
from ai_how.bench.calibrate import reference_server
from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.log import FileLog
from ai_how.bench.results import read_result
from ai_how.bench.targets import TARGETS, target_of
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench
from ai_how.spec.bench_target import SECTIONS, Api, Workload

Bring = Callable[[Path], AbstractContextManager[Place]]
"""Brings the real thing up for the time of a test; the folder is its own."""


@dataclass(frozen=True)
class Row:
    """A kind of target: the smallest recipe of it, how the real thing comes up, and a figure that must be there."""

    recipe: str
    bring: Bring
    figure: str


@contextmanager
def reference(folder: Path) -> Iterator[Place]:
    with reference_server(LocalGate(), "--service", "0.002") as address:
        yield Place(LocalGate(), folder, address)


@contextmanager
def here(folder: Path) -> Iterator[Place]:
    """What is measured is on this machine by itself, or is brought up beside the client."""
    yield Place(LocalGate(), folder)


HEAD = 'version: "1.0"\nkind: bench\nname: smoke\nrepetitions: 1\n'
ROWS = {
    "http": Row(
        HEAD + 'target: {url: "http://127.0.0.1:1"}\nload: {arrivals: constant, rate: 200, seconds: 0.5}\n',
        reference,
        "latency.p50",
    ),
    "openai": Row(
        HEAD + "target: {api: openai, model: any}\nworkload: {prompts: {max_tokens: 4}}\n"
        "load: {arrivals: constant, rate: 200, seconds: 0.5}\n",
        reference,
        "first_token.p50",
    ),
    "fio": Row(
        HEAD + "target: {api: fio}\nworkload: {fio: {size: 4M}}\nload: {arrivals: closed, seconds: 1}\n",
        here,
        "read_bandwidth",
    ),
    "metadata": Row(
        HEAD + "target: {api: metadata}\nworkload: {metadata: {files: 50, bytes: 10}}\n"
        "load: {arrivals: closed, clients: 2}\n",
        here,
        "creates",
    ),
    "checkpoint": Row(
        HEAD + "target: {api: checkpoint}\nworkload: {checkpoint: {size: 1M}}\nload: {arrivals: closed}\n",
        here,
        "save_bandwidth",
    ),
    "loader": Row(
        HEAD
        + "target: {api: loader}\nworkload: {loader: {files: 32, bytes: 512, batch: 8, workers: 1, epochs: 1}}\n"
        "load: {arrivals: closed}\n",
        here,
        "samples",
    ),
    "sql": Row(
        HEAD + "target: {api: sql}\nworkload: {sql: {limit_ms: 1000}}\n"
        "load: {arrivals: poisson, rate: 50, seconds: 1, connections: 2}\n",
        here,
        "schedule_lag.p50",
    ),
    "retrieval": Row(
        HEAD
        + "target: {api: retrieval}\nload: {arrivals: constant, rate: 100, seconds: 0.3, connections: 2}\n"
        + "workload: {retrieval: {store: faiss, index: flat, vectors: 500, dimension: 16, queries: 20}}\n",
        here,
        "recall",
    ),
}


def test_every_kind_is_listed_everywhere() -> None:
    assert set(typing.get_args(Api)) == set(TARGETS) == set(SECTIONS) == set(ROWS)
    assert set(SECTIONS.values()) == set(Workload.model_fields)


@pytest.mark.parametrize("api", ROWS)
class TestTarget:
    def test_it_makes_a_service_and_a_client(self, api: str, tmp_path: Path) -> None:
        target, recipe = target_of(api), parse_bench(ROWS[api].recipe, api)
        assert target.api == recipe.target.api == api
        assert getattr(recipe.workload, SECTIONS[api]) is not None
        with ROWS[api].bring(tmp_path) as place:
            for made, kind in (
                (target.service(recipe, place), interfaces.Service),
                (target.client(recipe, place), interfaces.Client),
            ):
                for name, method in inspect.getmembers(kind, inspect.isfunction):
                    if not name.startswith("_"):
                        wanted = list(inspect.signature(method).parameters)[1:]
                        assert list(inspect.signature(getattr(made, name)).parameters) == wanted

    def test_it_is_measured_to_a_record_that_reads_back(self, api: str, tmp_path: Path) -> None:
        recipe = parse_bench(ROWS[api].recipe, api)
        with ROWS[api].bring(tmp_path) as place:
            result = Bench(recipe, place, log=FileLog(tmp_path / "result.json")).run()
        assert result.partial is None and len(result.runs) == 1
        (run,) = result.runs
        assert run.good == run.sent > 0 and not run.errors
        assert ROWS[api].figure in {figure.name for figure in result.figures}
        assert result.service["service"]
        kept = read_result(tmp_path / "result.json")
        assert kept.figures == result.figures and kept.recipe == recipe
