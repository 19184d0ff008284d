"""Starting, observing and stopping replicas, with a Slurm that is a list."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ai_how.errors import AiHowError, CommandFailed, CouldNotTell, JobFailed, NotFound, TimedOut
from ai_how.security import write_private
from ai_how.serving.engines import LlamaCpp, Place, ServeRequest
from ai_how.serving.replicas import Phase, ReplicaResources, Replicas, ReplicaWanted, SiteFolders
from ai_how.wire import EndpointRecord


@dataclass(frozen=True)
class Job:
    id: int
    name: str
    state: str = "PENDING"
    reason: str = "Priority"
    nodes: str = ""


@dataclass
class FakeSlurm:
    """Holds jobs; answers or refuses as it is told."""

    held: dict[int, Job] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    refuses: AiHowError | None = None
    silent: bool = False

    def submit(self, script_text: str, name: str, cwd: Path) -> int:
        if self.refuses:
            raise self.refuses
        assert (cwd / "launch.json").exists() and (cwd / "replica_launcher.py").exists()
        self.scripts.append(script_text)
        job_id = 100 + len(self.scripts)
        self.held[job_id] = Job(job_id, name)
        return job_id

    def cancel(self, job_id: int) -> None:
        if job_id not in self.held:
            raise CommandFailed(f"scancel refused: Invalid job id {job_id}")
        del self.held[job_id]

    def jobs(self) -> Sequence[Job]:
        if self.silent:
            raise CouldNotTell("slurmctld does not answer")
        return list(self.held.values())

    def set(self, job_id: int, state: str) -> None:
        self.held[job_id] = replace(self.held[job_id], state=state, reason="None", nodes="node01")


class Site:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = SiteFolders.of(root)
        self.slurm = FakeSlurm()
        self.replicas = Replicas(self.folders, self.slurm)
        self.model = root / "tiny.gguf"
        self.model.write_bytes(b"GGUF and more")

    def start(self, name: str = "tiny") -> ReplicaWanted:
        request = ServeRequest(model=name, path=self.model)
        return self.replicas.start(
            request, LlamaCpp(), Place.of_environment(Path("/env")), ReplicaResources()
        )

    def publish(self, wanted: ReplicaWanted) -> None:
        now = time.time()
        record = EndpointRecord(
            version="1.0", model=wanted.model, host="127.0.0.1", port=4000, job_id=wanted.job_id or 0,
            nonce=wanted.nonce, uid=0, engine=wanted.engine, started=now, heartbeat=now,
        )  # fmt: skip
        write_private(self.folders.endpoints / record.secret_file, "secret")
        write_private(self.folders.endpoints / record.record_file, record.model_dump_json())

    def left(self) -> list[str]:
        """What this room has left on disk, but for logs."""
        return sorted(
            str(path.relative_to(self.root))
            for folder in (self.folders.replicas, self.folders.wanted, self.folders.endpoints)
            for path in folder.rglob("*")
            if path.is_file()
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_from_asked_for_to_ready_to_stopped(site: Site) -> None:
    wanted = site.start()
    assert wanted.job_id == 101
    assert wanted.log_path == site.folders.job_logs / "serve-tiny-101.log"

    def phase() -> Phase:
        return site.replicas.ps()[0].phase

    assert phase() is Phase.PENDING
    site.slurm.set(101, "RUNNING")
    assert phase() is Phase.LOADING
    site.publish(wanted)
    assert phase() is Phase.READY
    assert site.replicas.wait_ready(wanted, timeout=1).record is not None
    assert [one.job_id for one in site.replicas.stop("tiny")] == [101]
    assert site.slurm.held == {} and site.left() == [] and site.replicas.ps() == ()


def test_the_launch_file_holds_no_secret_and_is_private(site: Site) -> None:
    wanted = site.start()
    path = site.folders.replicas / wanted.nonce / "launch.json"
    facts = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (facts["nonce"], facts["model"], facts["secret_variable"]) == (
        wanted.nonce,
        "tiny",
        "AI_HOW_REPLICA_SECRET",
    )
    assert {entry.name for entry in path.parent.iterdir()} == {
        "launch.json",
        "replica_launcher.py",
        "replica_child.py",
        "llama_cpp_server.py",
    }


def test_memory_and_threads_follow_from_model_and_cpus(site: Site) -> None:
    request = ServeRequest(model="tiny", path=site.model)
    place = Place.of_environment(Path("/env"))
    wanted = site.replicas.start(request, LlamaCpp(), place, ReplicaResources(cpus=3))
    argv = json.loads((site.folders.replicas / wanted.nonce / "launch.json").read_text())["argv"]
    assert argv[argv.index("--threads") + 1] == "3"
    assert "#SBATCH --mem=513M" in site.slurm.scripts[0]


def test_a_job_that_slurm_refuses_leaves_nothing(site: Site) -> None:
    site.slurm.refuses = CommandFailed("sbatch ended with exit status 1")
    with pytest.raises(CommandFailed):
        site.start()
    assert site.left() == []


def test_a_submission_without_an_answer_is_adopted_later(site: Site) -> None:
    site.slurm.refuses = TimedOut("sbatch did not end")
    with pytest.raises(TimedOut):
        site.start()
    site.slurm.held[55] = Job(55, "serve-tiny")
    assert site.replicas.ps()[0].wanted.job_id == 55
    assert site.replicas.stop("55")[0].job_id == 55
    assert site.slurm.held == {} and site.left() == []


def test_when_slurm_is_silent_nothing_is_concluded(site: Site) -> None:
    site.publish(site.start())
    before = site.left()
    site.slurm.silent = True
    status = site.replicas.ps()[0]
    assert (status.phase, status.reason) == (Phase.UNKNOWN, "could not tell: slurmctld does not answer")
    assert site.left() == before


def test_nothing_is_stopped_while_slurm_is_silent(site: Site) -> None:
    site.start()
    before = site.left()
    site.slurm.silent = True
    with pytest.raises(CouldNotTell):
        site.replicas.stop("tiny")
    assert site.left() == before


def test_a_replica_whose_job_is_long_gone_can_be_forgotten(site: Site) -> None:
    site.start()
    site.slurm.held.clear()
    assert [one.job_id for one in site.replicas.stop("101")] == [101]
    assert site.left() == []


def test_the_record_of_a_job_that_is_gone_is_cleared_away(site: Site) -> None:
    wanted = site.start()
    site.publish(wanted)
    site.slurm.set(101, "FAILED")
    assert site.replicas.ps()[0].phase is Phase.LOST
    assert list(site.folders.endpoints.iterdir()) == []


def test_one_that_is_lost_while_waited_for_shows_its_last_lines(site: Site) -> None:
    wanted = site.start()
    site.slurm.set(101, "FAILED")
    assert wanted.log_path is not None
    wanted.log_path.write_text("replica: the engine ended with status 1\n  | failed to load model\n")
    with pytest.raises(JobFailed, match="did not become ready") as caught:
        site.replicas.wait_ready(wanted, timeout=1)
    assert "failed to load model" in (caught.value.detail or "")
    assert caught.value.where == str(wanted.log_path)


def test_one_that_is_never_ready(site: Site) -> None:
    with pytest.raises(TimedOut, match=r"tiny \(job 101\) becoming ready") as caught:
        site.replicas.wait_ready(site.start(), timeout=0.01)
    assert caught.value.cause == "It is pending: Priority."


def test_several_replicas_of_a_model_stop_together_or_alone(site: Site) -> None:
    site.start(), site.start(), site.start("other")
    assert [status.wanted.job_id for status in site.replicas.ps()] == [101, 102, 103]
    site.replicas.stop("102")
    assert [status.wanted.job_id for status in site.replicas.ps()] == [101, 103]
    site.start()
    site.replicas.stop("tiny")
    assert [status.wanted.model for status in site.replicas.ps()] == ["other"]


def test_stopping_what_is_not_served(site: Site) -> None:
    site.start()
    with pytest.raises(NotFound, match="no replica serves 'tinny'") as caught:
        site.replicas.stop("tinny")
    assert "tiny" in (caught.value.todo or "")


@pytest.mark.parametrize("name", ["", "a b", "-x", "a\nb", "a\n", 'a"b', "x" * 200, "../x;y"])
def test_a_name_that_cannot_be_served(site: Site, name: str) -> None:
    with pytest.raises(AiHowError, match="cannot name a model"):
        site.start(name)
    assert site.left() == [] and site.slurm.scripts == []


def test_a_file_that_is_no_model(site: Site) -> None:
    site.model.write_bytes(b"PK zip")
    with pytest.raises(AiHowError, match=r"tiny\.gguf is no GGUF file"):
        site.start()
    site.model.unlink()
    with pytest.raises(NotFound, match="cannot be read"):
        site.start()
    assert site.left() == []
