"""What a replica is to those who ask for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from ai_how.wire import MODEL_NAME, EndpointRecord


class JobFacts(Protocol):
    """What must be known of a Slurm job.

    ``state`` is Slurm's own word, ``reason`` its reason to wait or to fail, ``nodes`` where it runs.
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


class Submitter(Protocol):
    """What this room needs of Slurm."""

    def submit(self, script_text: str, name: str, cwd: Path) -> int:
        """Submit a batch script; returns the job's id."""
        ...

    def cancel(self, job_id: int) -> None:
        """End a job. Raises :class:`AiHowError` when Slurm refuses."""
        ...

    def jobs(self) -> Sequence[JobFacts]:
        """The jobs that Slurm holds now, and those that ended a moment ago.

        Raises :class:`AiHowError` when Slurm does not answer.
        """
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


class ReplicaWanted(BaseModel):
    """A replica that somebody asked for; kept in the site's state until it is stopped.

    ``job_id`` is None from the moment it is asked for until Slurm has said the job's id. ``log`` is the job's
    log, in which ``%j`` stands for that id. ``submitted`` is in seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["1.0"] = "1.0"
    nonce: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    model: str = Field(pattern=MODEL_NAME)
    engine: str
    job_name: str
    job_id: int | None
    submitted: float
    log: str

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
    """One replica, asked for and observed. ``reason`` says why it is in its phase; ``node`` may be empty."""

    wanted: ReplicaWanted
    phase: Phase
    reason: str
    node: str = ""
    record: EndpointRecord | None = None

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
            "log": str(self.wanted.log_path) if self.wanted.log_path else None,
        }
