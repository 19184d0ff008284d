"""Pass after pass over real files, with a Slurm that is a list and engines that answer as they are told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sample_replicas import FakeSlurm, version

from ai_how.errors import AiHowError, CommandFailed, TimedOut
from ai_how.run import wait_until
from ai_how.security import write_private
from ai_how.serving.replicas import (
    Desired,
    ReplicaResources,
    Replicas,
    ReplicaWanted,
    Scale,
    SiteFolders,
    Store,
)
from ai_how.serving.replicas.reconciler import Reconciler, Rhythm
from ai_how.wire import EndpointRecord
from ai_how.wire.routes import Demand, ModelDemand, ModelRoute

START = 1_000_000.0


class Hands:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Engine:
    """Answers ``/v1/models``, with its secret, like an engine that serves ``tiny``."""

    def __init__(self) -> None:
        self.models = ["tiny"]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                right = self.headers.get("authorization") == "Bearer secret"
                body = json.dumps({"data": [{"id": name} for name in outer.models]}).encode()
                self.send_response(200 if right else 401)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Site:
    def __init__(self, root: Path, engine: Engine) -> None:
        self.root, self.engine = root, engine
        self.folders = SiteFolders.of(root)
        self.slurm, self.clock = FakeSlurm(), Hands()
        self.store = Store(self.folders)
        self.folders.run.mkdir()
        self.reconciler = self.begin()

    def begin(self) -> Reconciler:
        """A reconciler, as after the former one was killed."""
        self.replicas = Replicas(self.folders, self.slurm, clock=self.clock)
        self.reconciler = Reconciler(
            self.replicas, self.slurm, self.store, rhythm=Rhythm(0.2, 0.2, 0.2), clock=self.clock
        )
        return self.reconciler

    def want(self, count: int = 1, **changes: object) -> None:
        scale = changes.pop("scale", Scale(minimum=count, maximum=max(count, 1)))
        facts = {"model": "tiny", "current": version(), "scale": scale, "said": self.clock.now(), **changes}
        with self.store.change("command") as models:
            models["tiny"] = Desired.model_validate(facts)

    def unwant(self) -> None:
        with self.store.change("command") as models:
            models.clear()

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.time += 1.0
            self.reconciler.step()

    def wanted(self) -> tuple[ReplicaWanted, ...]:
        return self.replicas.wanted()

    def publish(self, wanted: ReplicaWanted, *, secret: str = "secret", port: int = 0, uid: int = 0) -> None:
        record = EndpointRecord(
            version="1.0", model=wanted.model, host="127.0.0.1", port=port or self.engine.port,
            job_id=wanted.job_id or 0, nonce=wanted.nonce, uid=uid, engine=wanted.engine,
            started=self.clock.now(), heartbeat=self.clock.now(),
        )  # fmt: skip
        write_private(self.folders.endpoints / record.secret_file, secret)
        write_private(self.folders.endpoints / record.record_file, record.model_dump_json())

    def ready(self, wanted: ReplicaWanted, **job: float) -> None:
        """Its job runs, its engine answers, and the reconciler has found that out."""
        self.slurm.run(wanted.job_id or 0, start=self.clock.now(), **job)  # type: ignore[arg-type]
        self.publish(wanted)

        def seen() -> bool:
            self.step()
            self.publish(wanted)
            return any(one.nonce == wanted.nonce for one in self.route().replicas)

        # The clock of the test stands while the engine is asked in another thread.
        wait_until(seen, what="the replica in the routes", timeout=60)

    def route(self) -> ModelRoute:
        routes = self.store.routes()
        assert routes is not None
        return next(
            (one for one in routes.models if one.model == "tiny"), ModelRoute(model="tiny", state="failed")
        )

    def hear(self, **facts: object) -> None:
        routes = self.store.routes()
        generation = routes.generation if routes else 0
        said = {"worker": "w1", "generation": generation, "at": self.clock.now(), **facts}
        self.reconciler.hear(Demand.model_validate(said))

    def left(self) -> list[str]:
        """What is left of replicas on disk, but for logs."""
        folders = (self.folders.replicas, self.folders.wanted, self.folders.endpoints)
        return sorted(str(path) for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    one = Engine()
    yield one
    one.close()


@pytest.fixture
def site(tmp_path: Path, engine: Engine) -> Site:
    engine.models = ["tiny"]
    return Site(tmp_path, engine)


def test_from_wanted_to_ready_to_gone(site: Site) -> None:
    site.want()
    site.step()
    (one,) = site.wanted()
    assert (one.job_id, site.route().state) == (101, "starting")
    site.ready(one)
    assert (site.route().state, len(site.route().replicas)) == ("ready", 1)
    site.unwant()
    site.step(3)
    assert site.slurm.held == {} and site.left() == []
    routes = site.store.routes()
    assert routes is not None and routes.models == () and routes.generation > 1


def test_the_launch_file_holds_no_secret_and_is_private(site: Site) -> None:
    site.want(current=version(resources=ReplicaResources(cpus=3, account="lab", qos="high")))
    site.step()
    (one,) = site.wanted()
    path = site.folders.replicas / one.nonce / "launch.json"
    facts = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert (facts["nonce"], facts["model"]) == (one.nonce, "tiny")
    assert facts["argv"][facts["argv"].index("--threads") + 1] == "3"
    names = {entry.name for entry in path.parent.iterdir()}
    assert {"launch.json", "replica_launcher.py", "llama_cpp_server.py"} <= names
    assert "#SBATCH --account=lab" in site.slurm.scripts[0] and "#SBATCH --qos=high" in site.slurm.scripts[0]


@pytest.mark.parametrize(
    ("secret", "models", "why"),
    [
        ("guessed", ["tiny"], "its engine answers 401 to its secret"),
        ("secret", ["other"], "its engine does not list tiny"),
    ],
)
def test_an_engine_that_is_not_ours_is_never_in_the_routes(
    site: Site, secret: str, models: list[str], why: str
) -> None:
    site.engine.models = models
    site.want()
    site.step()
    (one,) = site.wanted()
    site.slurm.run(101)
    site.publish(one, secret=secret)

    def told() -> bool:
        site.step()
        return site.reconciler.statuses[0].reason == why

    wait_until(told, what=why, timeout=60)
    assert site.route().replicas == () and site.route().state == "starting"


def test_a_neighbours_port_is_nobodys(site: Site) -> None:
    site.want()
    site.step()
    (one,) = site.wanted()
    site.slurm.run(101)
    site.publish(one, port=1)
    wait_until(
        lambda: site.step() or "does not answer" in site.reconciler.statuses[0].reason,
        what="no answer",
        timeout=60,
    )
    assert site.route().replicas == ()


def test_a_crash_between_record_and_job_is_made_good(site: Site) -> None:
    site.slurm.refuses = TimedOut("sbatch did not end")
    site.want()
    site.step()
    (one,) = site.wanted()
    assert one.job_id is None
    # Slurm took it all the same; and the reconciler was killed just then.
    site.slurm.refuses = None
    site.slurm.submit("#!/bin/bash", "serve-tiny", site.folders.replicas / one.nonce)
    site.begin()
    site.step()
    assert [found.job_id for found in site.wanted()] == [101] and len(site.slurm.held) == 1


def test_what_never_was_submitted_is_asked_for_again(site: Site) -> None:
    site.slurm.refuses = TimedOut("sbatch did not end")
    site.want()
    site.step()
    site.slurm.refuses = None
    site.step(12)
    assert [found.job_id for found in site.wanted()] == [101]


def test_a_reconciler_that_comes_later_goes_on_with_what_runs(site: Site) -> None:
    site.want(2)
    site.step()
    for one in site.wanted():
        site.ready(one)
    before = site.route()
    site.begin()
    assert site.route() == before
    for one in site.wanted():
        site.publish(one)
    wait_until(lambda: site.step() or len(site.reconciler.shown[0].replicas) == 2, what="both", timeout=60)
    assert sorted(site.slurm.held) == [101, 102]


def test_while_slurm_is_silent_everything_stays(site: Site) -> None:
    site.want()
    site.step()
    site.ready(site.wanted()[0])
    before, routes = site.left(), site.store.routes()
    site.slurm.silent = True
    site.step(5)
    assert site.left() == before and site.store.routes() == routes
    assert site.store.shown()["problem"] == "slurmctld does not answer"
    # And a new reconciler that finds it silent leaves the routes of the former one.
    site.begin()
    site.step(2)
    assert site.store.routes() == routes
    assert [one.phase for one in site.reconciler.statuses] == ["unknown"]


def test_a_job_that_nobody_asked_for_is_ended(site: Site) -> None:
    orphan = site.folders.replicas / ("ab" * 12)
    orphan.mkdir(parents=True)
    (orphan / "launch.json").touch(), (orphan / "replica_launcher.py").touch()
    job = site.slurm.submit("#!/bin/bash", "serve-tiny", orphan)
    site.step()
    assert job not in site.slurm.held


def test_a_job_that_slurm_refuses_leaves_nothing_and_fails_in_the_end(site: Site) -> None:
    site.slurm.refuses = CommandFailed("sbatch refused: Invalid qos specification")
    site.want()
    site.step(60)
    assert site.left() == []
    assert site.route().state == "failed"
    assert (
        site.route().reason == "5 failures in a row, the last one: sbatch refused: Invalid qos specification"
    )


def test_a_slurm_that_is_away_is_no_failure_of_the_model(site: Site) -> None:
    site.slurm.refuses = CommandFailed("sbatch refused: Unable to contact slurm controller")
    site.want()
    site.step(60)
    assert site.reconciler.shown[0].failures == 0
    site.slurm.refuses = None
    site.step(10)
    assert len(site.slurm.held) == 1


def test_one_that_fails_shows_its_last_lines(site: Site) -> None:
    site.want()
    for _ in range(70):
        site.step()
        for one in site.wanted():
            if one.job_id in site.slurm.held:
                assert one.log_path is not None
                one.log_path.parent.mkdir(parents=True, exist_ok=True)
                one.log_path.write_text("replica: the engine ended with status 1\n  | failed to load model\n")
                site.slurm.run(one.job_id)
                site.slurm.end(one.job_id, "FAILED")
    facts = site.store.shown()
    assert (
        facts["models"][0]["state"] == "failed" and "failed to load model" in facts["models"][0]["log_tail"]
    )
    assert len(site.slurm.scripts) == 5
    # Said again, it is tried again.
    site.want()
    site.step()
    assert len(site.slurm.scripts) == 6


def test_before_its_time_limit_another_takes_over_without_a_gap(site: Site) -> None:
    site.want(margin=60)
    site.step()
    old = site.wanted()[0]
    site.ready(old, end=site.clock.now() + 4 * 3600)
    site.clock.time += 4 * 3600 - 65
    site.publish(old)
    site.step()
    (_, new) = site.wanted()
    assert new.job_id == 102 and [one.nonce for one in site.route().replicas] == [old.nonce]
    site.hear(models={"tiny": ModelDemand(active=1)}, replicas={old.nonce: 1})
    site.ready(new, end=site.clock.now() + 4 * 3600)
    for _ in range(2):
        site.publish(old), site.hear(models={"tiny": ModelDemand(active=1)}, replicas={old.nonce: 1})
        site.step()
    both = {one.nonce: one.draining for one in site.route().replicas}
    assert both == {old.nonce: True, new.nonce: False}
    # It holds a request: it stays until the worker says that it has ended.
    for _ in range(5):
        site.publish(old), site.publish(new)
        site.hear(models={"tiny": ModelDemand(active=1)}, replicas={old.nonce: 1})
        site.step()
    assert 101 in site.slurm.held
    site.hear(models={"tiny": ModelDemand(active=1)}, replicas={new.nonce: 1})
    site.step(2)
    assert sorted(site.slurm.held) == [102]


def test_a_thousand_requests_wake_one(site: Site) -> None:
    site.want(scale=Scale(minimum=0, maximum=1, idle=60))
    site.step(3)
    assert site.slurm.held == {} and (site.route().state, site.route().wakes) == ("asleep", True)
    for number in range(1, 5):
        site.hear(
            worker=f"w{number}", models={"tiny": ModelDemand(waiting=250)}, asked={"tiny": site.clock.now()}
        )
        site.step()
    assert len(site.slurm.held) == 1 and site.route().state == "starting"
    site.ready(site.wanted()[0])
    for number in range(1, 5):
        site.hear(worker=f"w{number}", asked={"tiny": site.clock.now()})
    # Nobody asks any more.
    for _ in range(65):
        if site.wanted():
            site.publish(site.wanted()[0])
        site.step()
    assert site.slurm.held == {} and site.route().state == "asleep" and len(site.slurm.scripts) == 1


def test_a_canary_gets_its_part(site: Site) -> None:
    site.want(2, canary=version("two"), canary_weight=20)
    site.step()
    assert len(site.wanted()) == 3
    for one in site.wanted():
        site.ready(one)
        for other in site.wanted():
            site.publish(other)
    site.step()
    weights = {one.nonce: one.weight for one in site.route().replicas}
    canary = next(one.nonce for one in site.wanted() if one.model_version == version("two").id)
    assert weights.pop(canary) == 20 and list(weights.values()) == [40, 40]


def test_a_damaged_record_is_named(site: Site) -> None:
    site.folders.wanted.mkdir(parents=True)
    write_private(site.folders.wanted / "ab.json", "{}")
    with pytest.raises(AiHowError, match="cannot be read") as caught:
        site.replicas.wanted()
    assert "scancel" in (caught.value.todo or "")


@pytest.mark.parametrize("name", ["", "a b", "-x", "a\nb", "a\n", 'a"b', "x" * 200, "../x;y"])
def test_a_name_that_cannot_be_served(site: Site, name: str) -> None:
    with pytest.raises(AiHowError, match="cannot name a model"):
        site.replicas.start(name, version())
    assert site.left() == [] and site.slurm.scripts == []


class Killed(BaseException):
    """kill -9: nothing of ours runs after it."""


class Fuse:
    """Ends the process before the effect with this number: so just after the one before it, too."""

    def __init__(self, left: int) -> None:
        self.left = left

    def around(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise Killed
            return effect(*args, **options)

        return guarded


#: Everything by which the reconciler changes the world.
EFFECTS = (
    ("slurm", "submit"), ("slurm", "cancel"), ("replicas", "write"), ("replicas", "forget"), ("replicas", "withdraw"),
    ("store", "write_routes"), ("store", "remember"), ("store", "show"),
)  # fmt: skip


def test_killed_at_any_instruction_it_loses_nothing_and_doubles_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas come, one crashes and is replaced, an upgrade, then none: with a kill at each effect on the way."""

    def ready() -> None:
        for one in site.wanted():
            if one.job_id in site.slurm.held:
                site.slurm.run(one.job_id, start=site.clock.now())
                site.publish(one)

    def settle(count: int, of: str) -> None:
        """With the fuse out, things come to what is wanted."""

        def there() -> bool:
            ready()
            site.step()
            routes = [one for one in site.route().replicas if not one.draining]
            versions = {one.model_version for one in site.wanted()}
            return len(routes) == count == len(site.slurm.held) and versions == (
                {version(of).id} if count else set()
            )

        wait_until(there, what=f"{count} of {of}", timeout=60, first=0.001, longest=0.01)

    def killed(number: int) -> bool:
        """Go on until the kill, at the effect with this number from now; whether it came to that."""
        fuse = Fuse(number)
        with monkeypatch.context() as patch:
            for holder, name in EFFECTS:
                target = getattr(site, holder)
                patch.setattr(target, name, fuse.around(getattr(target, name)))
            try:
                for _ in range(6):
                    ready()
                    site.step()
            except Killed:
                return True
        return False

    # What a crash of the machine itself leaves is not the question here.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    for number in range(1, 40):
        site.want(2)
        fell = killed(number)
        site.begin()
        settle(2, "one")
        site.slurm.end(min(site.slurm.held), "FAILED")
        fell = killed(number) or fell
        site.begin()
        settle(2, "one")
        site.want(2, current=version("two"))
        fell = killed(number) or fell
        site.begin()
        settle(2, "two")
        site.unwant()
        fell = killed(number) or fell
        site.begin()
        settle(0, "one")
        assert site.left() == []
        if not fell:
            return
    raise AssertionError("it never came to its end without a kill")


class Ways:
    """Tunnels to one engine, whatever its node is called there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open: set[tuple[str, int]] = set()

    def local(self, host: str, port: int) -> tuple[str, int]:
        self.open.add((host, port))
        return "127.0.0.1", self.port

    def close(self, host: str, port: int) -> None:
        self.open.discard((host, port))


def test_of_a_cluster_elsewhere_the_gateway_gets_records_with_addresses_of_this_machine(site: Site) -> None:
    ways, mirror = Ways(site.engine.port), site.root / "here"
    site.reconciler = Reconciler(
        site.replicas, site.slurm, site.store, local=False, tunnels=ways, mirror=mirror,
        rhythm=Rhythm(0.2, 0.2, 0.2), clock=site.clock,
    )  # fmt: skip
    site.want()
    site.step()
    (one,) = site.wanted()
    site.slurm.run(101, start=site.clock.now())

    def seen() -> bool:
        site.publish(one, port=9)
        site.step()
        return bool(site.route().replicas)

    wait_until(seen, what="the replica in the routes", timeout=60)
    copy = EndpointRecord.model_validate_json((mirror / f"{one.nonce}.json").read_text())
    assert (copy.host, copy.port, copy.job_id) == ("127.0.0.1", site.engine.port, 101)
    assert (mirror / f"{one.nonce}.secret").read_text() == "secret" and ways.open == {("127.0.0.1", 9)}
    # The heart of the copy beats with that of the record, by the clock of this machine.
    site.clock.time += 20
    site.publish(one, port=9)
    site.step()
    later = EndpointRecord.model_validate_json((mirror / f"{one.nonce}.json").read_text())
    assert later.heartbeat >= copy.heartbeat + 20
    site.unwant()
    site.step(3)
    assert list(mirror.iterdir()) == [] and ways.open == set() and site.slurm.held == {}
