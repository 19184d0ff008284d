"""Every kind of target keeps the framework's contract: one class, run for each of them against the real thing."""

from __future__ import annotations

import inspect
import json
import os
import secrets
import shutil
import signal
import tempfile
import typing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ai_how.bench import interfaces
from ai_how.bench.calibrate import reference_server
from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.log import FileLog
from ai_how.bench.results import read_result
from ai_how.bench.targets import TARGETS, target_of
from ai_how.bench.targets.emulated import free_ports
from ai_how.bench.work import Address
from ai_how.cli.bench import _script
from ai_how.host import Environments, Folders
from ai_how.run import Command, LocalGate, wait_until
from ai_how.services.object_store import LISTENERS, SOCKET_FOLDER
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
    yield Place(LocalGate(), folder, scripts=_script)


class Weed:
    """The site's own object store, by itself: brought up when it is first asked for, gone with the last test here."""

    def __init__(self) -> None:
        self.process, self.folder, self.ports = 0, Path(), dict[str, int]()
        self.keys = {"accessKey": "test", "secretKey": secrets.token_hex(8)}

    def start(self) -> None:
        environment = Environments(LocalGate(), Folders.of_user(os.environ)).ensure("seaweedfs")
        self.folder = Path(tempfile.mkdtemp(prefix="aih-weed-"))
        self.ports = ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        identity = {"name": "test", "credentials": [self.keys], "actions": actions}
        (self.folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir()
        self.process = LocalGate().start(
            Command(
                (str(environment / "bin" / "weed"), "-logtostderr=true", "server", f"-dir={self.folder}/data",
                 "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={self.folder}/identities.json",
                 "-s3.iam=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
                 "-master.volumeSizeLimitMB=64", "-volume.max=100", "-master.volumePreallocate=false",
                 "-volume.preStopSeconds=0", "-master.electionTimeout=500ms",
                 *(f"-{flag}={port}" for flag, port in ports.items()))
            ),
            self.folder / "log",
        )  # fmt: skip
        url = f"http://127.0.0.1:{ports['s3.port']}/healthz"
        wait_until(lambda: answers(url), what="the object store", timeout=60)

    def stop(self) -> None:
        if not self.process:
            return
        os.kill(self.process, signal.SIGKILL)  # it survives that, and takes its time otherwise
        os.waitpid(self.process, 0)
        for port in self.ports.values():
            for path in SOCKET_FOLDER.glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.folder)


WEED = Weed()


@pytest.fixture(scope="module", autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    WEED.stop()


@contextmanager
def object_store(folder: Path) -> Iterator[Place]:
    if not WEED.process:
        WEED.start()
    settings = {"s3_access_key": WEED.keys["accessKey"], "s3_secret_key": WEED.keys["secretKey"]}
    yield Place(LocalGate(), folder, Address("127.0.0.1", WEED.ports["s3.port"]), settings=settings)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


HEAD = 'version: "1.0"\nkind: bench\nname: smoke\nrepetitions: 1\n'
ROWS: dict[str, Row] = {
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


ROWS |= {
    "ollama": Row(
        HEAD + "target: {api: ollama, model: any}\nworkload: {prompts: {max_tokens: 4}}\n"
        "load: {arrivals: constant, rate: 100, seconds: 0.4}\n",
        reference,
        "first_token.p50",
    ),
    "embeddings": Row(
        HEAD + "target: {api: embeddings, model: any}\nload: {arrivals: constant, rate: 100, seconds: 0.4}\n",
        reference,
        "texts",
    ),
    "chain": Row(
        HEAD + "target: {api: chain, model: any}\nworkload: {chain: {documents: 1, k: 1}}\n"
        "load: {arrivals: closed, seconds: 0.3}\n",
        reference,
        "answer.p50",
    ),
    "s3": Row(
        HEAD + "target: {api: s3}\nworkload: {objects: {bytes: 5242880, objects: 2, operation: part}}\n"
        "load: {arrivals: closed, clients: 1, seconds: 0.3}\n",
        object_store,
        "complete.p50",
    ),
    "scheduler": Row(
        HEAD + "target: {api: scheduler}\nload: {arrivals: closed, clients: 2}\n"
        "workload: {scheduler: {emulated_nodes: 2, jobs: 4, array: 20, depth: 50}}\n",
        here,
        "submits",
    ),
    "training": Row(
        HEAD + "target: {api: training}\nload: {arrivals: closed}\n"
        "workload: {training: {processes: [2], steps: 3, batch: 8}}\n",
        here,
        "samples.2",
    ),
    "collective": Row(
        HEAD
        + "target: {api: collective}\nworkload: {collective: {sizes: [4K], rounds: 3}}\nload: {arrivals: closed}\n",
        here,
        "bus_bandwidth.4K",
    ),
    "pair": Row(
        HEAD
        + "target: {api: pair}\nload: {arrivals: closed}\nworkload:\n  pair:\n"
        + "    first: {target: {api: openai, model: any}, load: {arrivals: closed, seconds: 0.5}}\n"
        + "    second: {target: {api: metadata}, workload: {metadata: {files: 500}}, load: {arrivals: closed}}\n",
        reference,
        "second.creates.ratio",
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


@pytest.mark.parametrize("operation", ["put", "get", "list"])
def test_objects_are_put_read_and_listed_by_signed_requests(operation: str, tmp_path: Path) -> None:
    text = ROWS["s3"].recipe.replace("part", operation).replace("5242880", "70000")
    with object_store(tmp_path) as place:
        result = Bench(parse_bench(text, operation), place).run()
    (run,) = result.runs
    assert run.good == run.sent > 0 and not run.errors
    assert ("bandwidth" in run.values) == (operation != "list")
    assert WEED.keys["secretKey"] not in result.model_dump_json()


def test_each_point_reads_objects_of_its_own_size_and_number(tmp_path: Path) -> None:
    text = ROWS["s3"].recipe.replace("part", "get").replace("5242880", "1000")
    text += "sweep: {workload.objects.bytes: [1000, 2000], workload.objects.objects: [2, 5]}\n"
    with object_store(tmp_path) as place:
        result = Bench(parse_bench(text, "sizes"), place).run()
    assert len(result.runs) == 4 and all(run.good == run.sent > 0 for run in result.runs)
