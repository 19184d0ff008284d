"""Replicas, jobs and a Slurm that is a list, for the tests of what is decided and done about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ai_how.errors import AiHowError, CommandFailed, CouldNotTell
from ai_how.serving.engines import Place
from ai_how.serving.replicas import ModelVersion, Phase, ReplicaStatus, ReplicaWanted
from ai_how.wire import EndpointRecord

NOW = 1_000_000.0


@dataclass(frozen=True)
class Job:
    id: int = 7
    name: str = "serve-tiny"
    state: str = "RUNNING"
    reason: str = "None"
    nodes: str = "node01"
    submit: int = 0
    start: int = 0
    end: int = 0
    work_dir: str = ""
    uid: int | None = None


@dataclass
class FakeSlurm:
    """Holds jobs; answers or refuses as it is told."""

    held: dict[int, Job] = field(default_factory=dict)
    ended: dict[int, Job] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    drained: set[str] = field(default_factory=set)
    refuses: AiHowError | None = None
    silent: bool = False
    calls: int = 0

    def submit(self, script_text: str, name: str, cwd: Path) -> int:
        if self.refuses:
            raise self.refuses
        assert (cwd / "launch.json").exists() and (cwd / "replica_launcher.py").exists()
        self.scripts.append(script_text)
        job_id = 100 + len(self.scripts)
        self.held[job_id] = Job(job_id, name, "PENDING", "Priority", "", work_dir=str(cwd))
        return job_id

    def cancel(self, job_id: int) -> None:
        if self.silent:
            raise CouldNotTell("slurmctld does not answer")
        if job_id not in self.held:
            raise CommandFailed(f"scancel refused: Invalid job id {job_id}")
        self.end(job_id, "CANCELLED")

    def live_jobs(self) -> Sequence[Job]:
        self.calls += 1
        if self.silent:
            raise CouldNotTell("slurmctld does not answer")
        return list(self.held.values())

    def job(self, job_id: int) -> Job | None:
        return self.held.get(job_id) or self.ended.get(job_id)

    def drained_nodes(self) -> Collection[str]:
        return set(self.drained)

    def run(self, job_id: int, *, node: str = "node01", start: float = NOW, end: float = 0) -> None:
        job = self.held[job_id]
        self.held[job_id] = replace(
            job, state="RUNNING", reason="None", nodes=node, start=int(start), end=int(end)
        )

    def end(self, job_id: int, state: str) -> None:
        self.ended[job_id] = replace(self.held.pop(job_id), state=state)


def version(name: str = "one", **changes: object) -> ModelVersion:
    facts: dict[str, object] = {
        "reference": f"tiny:{name}",
        "engine": "llama.cpp",
        "path": f"/models/{name}.gguf",
        "place": Place.of_environment(Path("/env")),
        **changes,
    }
    return ModelVersion.model_validate(facts)


ONE, TWO = version("one"), version("two")


def wanted(number: int, of: ModelVersion = ONE, **changes: object) -> ReplicaWanted:
    facts: dict[str, object] = {
        "nonce": f"{number:024x}",
        "model": "tiny",
        "engine": "llama.cpp",
        "job_name": "serve-tiny",
        "job_id": number,
        "submitted": NOW - 1000,
        "log": "/site/log/jobs/serve-tiny-%j.log",
        "model_version": of.id,
        **changes,
    }
    return ReplicaWanted.model_validate(facts)


def status(
    number: int,
    phase: Phase = Phase.READY,
    of: ModelVersion = ONE,
    *,
    job: Job | None = None,
    record: EndpointRecord | None = None,
    requests: int = 0,
    drained: bool = False,
    faulty: bool = False,
    reason: str = "it is so",
    **changes: object,
) -> ReplicaStatus:
    """One replica as it is seen; a ready one has been so for a while, unless ``changes`` say otherwise."""
    if phase is Phase.READY:
        changes = {"started": NOW - 990, "readied": NOW - 900, **changes}
    if phase is Phase.LOADING:
        changes = {"started": NOW - 990, **changes}
    state = {Phase.PENDING: "PENDING", Phase.LOST: "FAILED"}.get(phase, "RUNNING")
    facts = job or Job(
        number, state=state, start=int(NOW - 990), nodes="" if phase is Phase.PENDING else "node01"
    )
    return ReplicaStatus(
        wanted(number, of, **changes), phase, reason, facts.nodes, record, facts, requests, drained, faulty
    )


def record(
    nonce: str,
    job_id: int = 7,
    *,
    heartbeat: float = NOW,
    model: str = "tiny",
    leaving: bool = False,
    uid: int = 0,
) -> EndpointRecord:
    return EndpointRecord(
        version="1.0", model=model, host="127.0.0.1", port=4000, job_id=job_id, nonce=nonce, uid=uid,
        engine="llama.cpp", started=NOW - 100, heartbeat=heartbeat, leaving=leaving,
    )  # fmt: skip
