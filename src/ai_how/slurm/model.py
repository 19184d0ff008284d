"""What we tell Slurm, and what it tells us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: A job's number, or ``12_3`` for a task of an array, as Slurm's own commands take it.
JobId = int | str


@dataclass(frozen=True)
class Gres:
    """Typed GPUs of one node: ``count`` of ``type``, backed by the character devices ``files``."""

    type: str
    files: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Node:
    """One slurmd. ``memory_mb`` in MiB."""

    name: str
    port: int
    cpus: int
    memory_mb: int
    gres: tuple[Gres, ...] = ()


@dataclass(frozen=True)
class Partition:
    """``max_time`` and ``default_time`` in Slurm's own notation; ``priority`` is its PriorityTier.

    ``preempt_mode`` is Slurm's word; ``grace_time`` in seconds.
    """

    name: str
    nodes: tuple[str, ...]
    max_time: str
    default_time: str
    default: bool = False
    priority: int | None = None
    qos: str | None = None
    preempt_mode: str | None = None
    grace_time: int | None = None


@dataclass(frozen=True)
class Preemption:
    """Slurm's PreemptType and PreemptMode, and whether a job gets its own signal when it is to make room."""

    type: str
    mode: str
    send_user_signal: bool = False


@dataclass(frozen=True)
class ClusterConfig:
    """All that ``slurm.conf``, ``gres.conf`` and ``slurmdbd.conf`` are rendered from.

    ``version`` is Slurm's own, major and minor: 22.05 is (22, 5). ``loopback_name`` tells whether ``host`` stands for
    127.0.0.1. ``enforced`` tells that jobs are held to accounts and QOS; ``retention_days`` after how many days
    slurmdbd purges its records.
    """

    name: str
    host: str
    user: str
    slurmctld_port: int
    slurmdbd_port: int
    munge_socket: Path
    etc: Path
    run: Path
    log: Path
    state: Path
    spool: Path
    nodes: tuple[Node, ...]
    partitions: tuple[Partition, ...]
    plugin_folder: Path | None = None
    version: tuple[int, int] = (22, 5)
    loopback_name: bool = True
    enforced: bool = False
    preemption: Preemption | None = None
    retention_days: int | None = None


@dataclass(frozen=True)
class Job:
    """A job as ``squeue`` or ``sacct`` tells of it. Times are seconds since the epoch, 0 when not known."""

    id: int
    name: str
    state: str
    reason: str = ""
    user: str = ""
    partition: str = ""
    nodes: str = ""
    exit_code: str = ""
    elapsed: int = 0
    time_limit: str = ""
    submit: int = 0
    start: int = 0
    end: int = 0
    restarts: int = 0
    #: Where its script runs; empty when it is accounting that tells.
    work_dir: str = ""
    #: The account's number; None when it is accounting that tells.
    uid: int | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def completed(self) -> bool:
        return self.state == "COMPLETED"


@dataclass(frozen=True)
class Accounting:
    """What slurmdbd keeps of an ended job: wall and CPU seconds, the largest resident set in bytes, TRES."""

    job_id: int
    state: str
    exit_code: str
    elapsed_seconds: int
    cpu_seconds: float
    max_rss_bytes: int
    allocated: Mapping[str, str]
    nodes: str


@dataclass(frozen=True)
class Life:
    """One run of a job, of which a job that was requeued has several: what it held, and from when until when.

    Seconds since the epoch; ``end`` is 0 while it goes on. ``gpus`` counts devices, and slices as one each.
    """

    job_id: int
    start: int
    end: int
    cpus: int
    gpus: int


@dataclass(frozen=True)
class NodeState:
    """A node as slurmctld sees it; ``state`` is Slurm's word without its flags, which are in ``flags``."""

    name: str
    state: str
    flags: frozenset[str]
    reason: str = ""

    @property
    def usable(self) -> bool:
        return self.state in {"IDLE", "MIXED", "ALLOCATED", "COMPLETING"} and not self.flags & UNUSABLE

    @property
    def unheard(self) -> bool:
        """slurmctld waits for its slurmd to report, as it does after each restart of its own."""
        return self.state == "UNKNOWN" or "NOT_RESPONDING" in self.flags


@dataclass(frozen=True)
class Offer:
    """What one node gives to the jobs of one partition. ``gres`` counts GPUs by type, "" being that of untyped ones."""

    partition: str
    default: bool
    node: str
    cpus: int
    memory_mb: int
    gres: Mapping[str, int]


#: Base states in which a job will never run again (Slurm, ``JOB STATE CODES`` in squeue(1)).
ENDED = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL",
        "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT",
    }
)  # fmt: skip

#: Node flags that keep jobs away (sinfo(1), ``NODE STATE CODES``).
UNUSABLE = frozenset({"DOWN", "DRAIN", "FAIL", "NOT_RESPONDING", "MAINTENANCE", "POWERED_DOWN", "UNKNOWN"})
