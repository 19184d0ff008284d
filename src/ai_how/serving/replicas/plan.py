"""From what was asked for and what is observed to the phase of each replica. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ai_how.serving.fit import Need
from ai_how.serving.replicas.model import JobFacts, Phase, ReplicaStatus, ReplicaWanted
from ai_how.wire import EndpointRecord

# Slurm's states of a job that will run, or runs.
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
RUNNING = frozenset({"RUNNING", "CONFIGURING"})
STOPPED = frozenset({"SUSPENDED", "STOPPED"})
ENDING = frozenset({"COMPLETING", "SIGNALING", "STAGE_OUT"})

# Slurm's states of a job that ended by no fault of its own: its time, its node, somebody's word.
BLAMELESS = frozenset(
    {"CANCELLED", "COMPLETED", "DEADLINE", "NODE_FAIL", "PREEMPTED", "REVOKED", "TIMEOUT", *ENDING}
)

# Seconds after which Slurm must know a job that was submitted, and a replica must have renewed its record.
UNSEEN_AFTER = 10.0
SILENT_AFTER = 30.0


@dataclass(frozen=True)
class Facts:
    """What was seen of a site's replicas.

    ``records`` by nonce; ``verified`` are the nonces whose engine was asked and gave the right answer, ``faults`` why
    others did not; ``requests`` those that the gateway holds on each; ``drained`` are nonces that hold none and get
    none.
    """

    jobs: Mapping[int, JobFacts]
    records: Mapping[str, EndpointRecord]
    verified: Collection[str] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    drained: Collection[str] = ()


def adopt(wanted: ReplicaWanted, jobs: Iterable[JobFacts]) -> ReplicaWanted:
    """A replica whose job's id was never written down (a crash just then), with the id found out again.

    A replica's job runs in the replica's own folder, which bears its nonce.
    """
    if wanted.job_id is not None:
        return wanted
    found = [job.id for job in jobs if nonce_of(job) == wanted.nonce]
    return wanted.model_copy(update={"job_id": found[0]}) if found else wanted


def nonce_of(job: JobFacts) -> str:
    """The nonce of the replica that a job is, by the folder in which it runs; empty when it is none."""
    folder, _, name = job.work_dir.rstrip("/").rpartition("/")
    return name if folder.endswith("/replicas") and re.fullmatch(r"[0-9a-f]{16,64}", name) else ""


def orphans(jobs: Iterable[JobFacts], known: Collection[str], folder: str) -> Iterator[JobFacts]:
    """Jobs in ``folder``, where this site's replicas run, that nobody asked for (any more)."""
    for job in jobs:
        inside = job.work_dir.startswith(folder.rstrip("/") + "/")
        if inside and nonce_of(job) not in known and base_state(job.state) in WAITING | RUNNING | STOPPED:
            yield job


def judge(wanted: ReplicaWanted, facts: Facts, now: float) -> ReplicaStatus:
    """The phase of one replica, and why. ``now`` is in seconds since the epoch."""
    job = facts.jobs.get(wanted.job_id) if wanted.job_id is not None else None
    if job is None:
        return _without_job(wanted, now)
    phase, reason, faulty = _phase(wanted, job, facts, now)
    return ReplicaStatus(
        wanted,
        phase,
        reason,
        job.nodes if phase is not Phase.PENDING or base_state(job.state) in STOPPED else "",
        facts.records.get(wanted.nonce),
        job,
        facts.requests.get(wanted.nonce, 0),
        wanted.nonce in facts.drained,
        faulty,
    )


def _phase(wanted: ReplicaWanted, job: JobFacts, facts: Facts, now: float) -> tuple[Phase, str, bool]:
    state = base_state(job.state)
    why = "" if job.reason in ("", "None", "none", "(null)") else job.reason
    if state in WAITING:
        return Phase.PENDING, why or "waits for its turn", False
    if state in STOPPED:
        return Phase.PENDING, f"Slurm has {state.lower()} it", False
    if state in ENDING:
        return Phase.LOST, "it is ending", False
    if state not in RUNNING:
        ended = f"its job ended: {state}"
        return Phase.LOST, f"{ended} ({why})" if why else ended, state not in BLAMELESS
    record = facts.records.get(wanted.nonce)
    if record is None:
        return Phase.LOADING, "the engine is loading the model", False
    if record.job_id != job.id or (job.uid is not None and record.uid != job.uid):
        return Phase.LOADING, "its record is not of this job", False
    if record.model != wanted.model:
        return Phase.LOST, f"it serves {record.model}", True
    silent = now - record.heartbeat
    if silent > SILENT_AFTER:
        return Phase.LOST, f"no heartbeat for {silent:.0f} s", True
    if wanted.nonce not in facts.verified:
        return Phase.LOADING, facts.faults.get(wanted.nonce, "its engine is being asked for the model"), False
    return Phase.READY, "it answers", False


def _without_job(wanted: ReplicaWanted, now: float) -> ReplicaStatus:
    age = now - wanted.submitted
    if age < UNSEEN_AFTER:
        return ReplicaStatus(wanted, Phase.PENDING, "it is being submitted")
    if wanted.job_id is None:
        return ReplicaStatus(wanted, Phase.LOST, "it never was submitted")
    return ReplicaStatus(wanted, Phase.LOST, f"Slurm holds no job {wanted.job_id} any more")


def could_not_tell(wanted: ReplicaWanted, why: str) -> ReplicaStatus:
    """The status while Slurm does not answer: nothing is concluded from silence."""
    return ReplicaStatus(wanted, Phase.UNKNOWN, f"could not tell: {why}")


def base_state(state: str) -> str:
    """Slurm's state without its tail: ``CANCELLED by 1000`` is ``CANCELLED``, ``RUNNING+`` is ``RUNNING``."""
    words = state.upper().split()
    return words[0].rstrip("+") if words else ""


def stale(records: Iterable[EndpointRecord], jobs: Mapping[int, JobFacts]) -> tuple[EndpointRecord, ...]:
    """The records whose job does not run: their launcher was killed before it could take them back."""
    alive = {one.id for one in jobs.values() if base_state(one.state) in RUNNING | STOPPED | ENDING}
    return tuple(record for record in records if record.job_id not in alive)


def memory_for(size: int, needed: Need | None) -> str:
    """The memory to ask of Slurm for a model whose file has ``size`` bytes.

    512 MiB for the engine and its libraries, more where PyTorch is among them, and what the model needs with a tenth on
    top; where its file does not tell that, the weights and a quarter for the context.
    """
    told = (needed.weights + needed.cache + needed.compute) * 1.1 if needed else size * 1.25
    libraries = 512 + (max(0, needed.runtime - 200_000_000) // 2**20 if needed else 0)
    return f"{libraries + math.ceil(told / 2**20)}M"


def select(replicas: Iterable[ReplicaWanted], target: str) -> tuple[ReplicaWanted, ...]:
    """The replicas that ``target`` means: a job's id, or else the name of a model."""
    everyone = tuple(replicas)
    by_job = tuple(one for one in everyone if target.isdigit() and one.job_id == int(target))
    return by_job or tuple(one for one in everyone if one.model == target)
