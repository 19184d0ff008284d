"""Records and routes are seen soon, and looked at no more often than is of use."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ai_how.run import SystemClock, wait_until
from ai_how.security import write_private
from ai_how.serving.gateway.endpoints import EndpointFolder
from ai_how.serving.gateway.routes import Directory, NoRoutes, RouteFile
from ai_how.wire import EndpointRecord, ModelRoute, ReplicaRoute, Routes


class ByHand:
    """Wall time as it is, by which files are dated; monotonic time moved by hand."""

    def __init__(self) -> None:
        self.passed = 100.0

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def publish(folder: Path, number: int, heartbeat: float = 0.0) -> str:
    record = EndpointRecord(
        version="1.0", model="tiny", host="127.0.0.1", port=4000, job_id=number + 1, nonce=f"{number:024x}",
        uid=os.getuid(), engine="fake", started=1.0, heartbeat=heartbeat or time.time(),
    )  # fmt: skip
    if not (folder / record.secret_file).exists():
        write_private(folder / record.secret_file, "secret")
    write_private(folder / record.record_file, record.model_dump_json())
    return record.nonce


def route(path: Path, generation: int, *nonces: str) -> None:
    replicas = tuple(ReplicaRoute(nonce=nonce) for nonce in nonces)
    model = ModelRoute(model="tiny", state="ready" if nonces else "asleep", replicas=replicas)
    write_private(path, Routes(generation=generation, models=(model,)).model_dump_json())


def test_many_heartbeats_are_not_many_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred replicas change the folder all the time; a thousand looks at it read it a few times."""
    for number in range(100):
        publish(tmp_path, number)
    clock = ByHand()
    folder = EndpointFolder(tmp_path, clock)
    readings = 0
    scandir = os.scandir

    def counted(path: Path) -> object:
        nonlocal readings
        readings += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    for number in range(1000):
        if number % 20 == 0:
            publish(tmp_path, number % 100)
        clock.sleep(0.001)
        assert len(folder.replicas()) == 100
    # a thousand looks in a second; 99 records after the first make a tenth of a second from one reading to the next
    assert 9 <= readings <= 11


def test_a_record_that_the_routes_name_is_looked_for_at_once(tmp_path: Path) -> None:
    endpoints, path = tmp_path / "endpoints", tmp_path / "routes.json"
    for number in range(300):
        publish(endpoints, number)
    clock = ByHand()
    folder = EndpointFolder(endpoints, clock)
    directory = Directory(folder, RouteFile(path, SystemClock()))
    route(path, 1, f"{5:024x}")
    assert len(directory.models()["tiny"].seats) == 1
    new = publish(endpoints, 300)
    clock.sleep(0.02)
    assert len(folder.replicas()) == 300  # unasked it is read a third of a second later
    route(path, 2, f"{5:024x}", new)
    wait_until(lambda: directory.models() and directory.generation == 2, what="the new routes", timeout=30)
    assert len(directory.models()["tiny"].seats) == 2


def test_two_changes_within_a_tick_of_the_clock_are_both_seen(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    file = RouteFile(path, SystemClock())
    for generation in range(1, 40):
        route(path, generation)
        deadline = time.perf_counter() + 60
        while (found := file.routes()) is None or found.generation != generation:
            assert time.perf_counter() < deadline


def test_routes_that_cannot_be_used_leave_what_was_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "routes.json"
    file = RouteFile(path, SystemClock())
    assert file.routes() is None
    route(path, 1)
    first = file.routes()
    assert first is not None and first.generation == 1
    time.sleep(0.01)  # a time stamp of its own
    write_private(path, "{")
    assert file.routes() is first and "fields are not" in caplog.text
    route(path, 2)
    path.chmod(0o644)
    os.utime(path, ns=(1, 1))
    assert file.routes() is first and "open to other accounts" in caplog.text
    path.unlink()
    assert file.routes() is None


def test_nothing_is_joined_anew_while_nothing_changes(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    directory = Directory(EndpointFolder(tmp_path, SystemClock()), NoRoutes())
    began = time.perf_counter()
    before = directory.models()
    while True:  # until the folder's time is old enough to be believed
        again = directory.models()
        if again is before and time.perf_counter() > began + 0.2:
            break
        before = again
        assert time.perf_counter() < began + 60
    assert directory.models() is before and directory.generation == 0
