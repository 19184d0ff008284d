"""What a replica is to those who ask for it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from ai_how.wire import MODEL_NAME, EndpointRecord


class JobFacts(Protocol):
    """What must be known of a Slurm job.

    ``state`` is Slurm's own word, ``reason`` its reason to wait or to fail, ``nodes`` where it runs. Times are
    seconds since the epoch, 0 when not known: ``start`` of a job that waits is when Slurm expects it to start,
    ``end`` of one that runs when its time limit is reached. ``work_dir`` is where its script runs, ``uid`` whose it
    is; None when that was not told.
    """

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def nodes(self) -> str: ...
    @property
    def submit(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def work_dir(self) -> str: ...
    @property
    def uid(self) -> int | None: ...


class Submitter(Protocol):
    """What this room needs of Slurm. Each call is one command, however many jobs there are."""

    def submit(self, script_text: str, name: str, cwd: Path) -> int:
        """Submit a batch script; returns the job's id."""
        ...

    def cancel(self, job_id: int) -> None:
        """End a job. Raises :class:`AiHowError` when Slurm refuses."""
        ...

    def live_jobs(self) -> Sequence[JobFacts]:
        """Our own jobs that wait, run or end right now, with Slurm's estimate of when those that wait will start.

        Raises :class:`AiHowError` when Slurm does not answer.
        """
        ...

    def job(self, job_id: int) -> JobFacts | None:
        """One job, also one that has ended; None when Slurm knows of none."""
        ...

    def drained_nodes(self) -> Collection[str]:
        """The names of the nodes that are to be emptied: drained, failing, or reserved for maintenance."""
        ...


class Tunnels(Protocol):
    """A way to the replicas of a cluster whose nodes cannot be reached from here."""

    def local(self, host: str, port: int) -> tuple[str, int]:
        """The address on this machine that leads there; made when it is not there yet.

        Raises :class:`AiHowError`, :class:`CouldNotTell` when the way does not stand at the moment.
        """
        ...

    def close(self, host: str, port: int) -> None:
        """Take a way down; what is not there is no fault."""
        ...


@dataclass(frozen=True)
class ReplicaResources:
    """What one replica asks of Slurm, in Slurm's own words (``gres``: ``gpu:a100:1``).

    Without ``memory`` what the model needs at its context decides.
    """

    cpus: int = 1
    memory: str | None = None
    time_limit: str = "08:00:00"
    gres: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None


class Check(BaseModel):
    """How to see that an engine serves a model: a GET of ``path`` answers JSON, under ``list_key`` a list whose entries
    have the model's name under ``name_key``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    list_key: str
    name_key: str


class ReplicaWanted(BaseModel):
    """A replica that was asked for; kept in the site's state until it has ended.

    ``job_id`` is None from the moment it is asked for until Slurm has said the job's id. ``log`` is the job's
    log, in which ``%j`` stands for that id. Times are in seconds since the epoch: ``submitted``; ``started`` when
    Slurm started its job, ``readied`` when it first could be asked, ``draining`` since when it gets nothing new, each
    None until then. ``model_version`` is the id of what it serves; ``leaving`` why another is to take its place.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    version: Literal["1.0"] = "1.0"
    nonce: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    model: str = Field(pattern=MODEL_NAME)
    engine: str
    job_name: str
    job_id: int | None
    submitted: float
    log: str
    model_version: str = ""
    check: Check | None = None
    started: float | None = None
    readied: float | None = None
    draining: float | None = None
    leaving: str = ""

    @property
    def log_path(self) -> Path | None:
        """The job's log, when the job is known."""
        return Path(self.log.replace("%j", str(self.job_id))) if self.job_id is not None else None


class Phase(StrEnum):
    """How far a replica is. ``unknown``: Slurm did not answer, which is neither alive nor lost."""

    PENDING = "pending"
    LOADING = "loading"
    READY = "ready"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ReplicaStatus:
    """One replica, asked for and observed. ``reason`` says why it is in its phase; ``node`` may be empty.

    ``requests`` are those that the gateway holds on it. ``faulty``: it ended by a fault of its own, and not because its
    time was up, its node went, or somebody ended it.
    """

    wanted: ReplicaWanted
    phase: Phase
    reason: str
    node: str = ""
    record: EndpointRecord | None = None
    job: JobFacts | None = None
    requests: int = 0
    drained: bool = False
    faulty: bool = False

    def as_json(self) -> dict[str, object]:
        """The facts for ``--json``."""
        return {
            "model": self.wanted.model,
            "engine": self.wanted.engine,
            "job_id": self.wanted.job_id,
            "phase": self.phase.value,
            "reason": self.reason,
            "node": self.node,
            "endpoint": f"{self.record.host}:{self.record.port}" if self.record else None,
            "submitted": self.wanted.submitted,
            "ends": self.job.end or None if self.job else None,
            "version": self.wanted.model_version,
            "leaving": self.wanted.leaving or None,
            "draining": self.wanted.draining is not None,
            "requests": self.requests,
            "nonce": self.wanted.nonce,
            "log": str(self.wanted.log_path) if self.wanted.log_path else None,
        }
