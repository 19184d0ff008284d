"""From what was asked for and what is observed to the phase of each replica. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ai_how.serving.fit import Need
from ai_how.serving.replicas.model import JobFacts, Phase, ReplicaStatus, ReplicaWanted
from ai_how.wire import EndpointRecord

# Slurm's states of a job that will run, or runs.
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
RUNNING = frozenset({"RUNNING", "CONFIGURING"})
STOPPED = frozenset({"SUSPENDED", "STOPPED"})
ENDING = frozenset({"COMPLETING", "SIGNALING", "STAGE_OUT"})

# Seconds after which Slurm must know a job that was submitted, and a replica must have renewed its record.
UNSEEN_AFTER = 10.0
SILENT_AFTER = 30.0


def adopt(
    wanted: ReplicaWanted, jobs: Sequence[JobFacts], records: Iterable[EndpointRecord]
) -> ReplicaWanted:
    """A replica whose job's id was never written down (a crash just then), with the id found out again.

    Its record names the job; before there is one, a single job of its name can only be it.
    """
    if wanted.job_id is not None:
        return wanted
    found = [record.job_id for record in records if record.nonce == wanted.nonce]
    if not found:
        named = [job.id for job in jobs if job.name == wanted.job_name]
        found = named if len(named) == 1 else []
    return wanted.model_copy(update={"job_id": found[0]}) if found else wanted


def judge(
    wanted: ReplicaWanted, jobs: Sequence[JobFacts], records: Iterable[EndpointRecord], now: float
) -> ReplicaStatus:
    """The phase of one replica, and why. ``now`` is in seconds since the epoch."""
    job = next((job for job in jobs if job.id == wanted.job_id), None)
    if job is None:
        return _without_job(wanted, now)
    state = base_state(job.state)
    why = "" if job.reason in ("", "None", "none", "(null)") else job.reason
    if state in WAITING:
        return ReplicaStatus(wanted, Phase.PENDING, why or "waits for its turn")
    if state in STOPPED:
        return ReplicaStatus(wanted, Phase.PENDING, f"Slurm has {state.lower()} it", job.nodes)
    if state in ENDING:
        return ReplicaStatus(wanted, Phase.LOST, "it is ending", job.nodes)
    if state not in RUNNING:
        ended = f"its job ended: {state}"
        return ReplicaStatus(wanted, Phase.LOST, f"{ended} ({why})" if why else ended, job.nodes)
    record = next((one for one in records if one.nonce == wanted.nonce and one.job_id == job.id), None)
    if record is None:
        return ReplicaStatus(wanted, Phase.LOADING, "the engine is loading the model", job.nodes)
    silent = now - record.heartbeat
    if silent > SILENT_AFTER:
        return ReplicaStatus(wanted, Phase.LOST, f"no heartbeat for {silent:.0f} s", job.nodes, record)
    return ReplicaStatus(wanted, Phase.READY, "it answers", job.nodes, record)


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


def active(jobs: Sequence[JobFacts], job_id: int) -> bool:
    """Whether that job waits or runs."""
    return any(job.id == job_id and base_state(job.state) in WAITING | RUNNING | STOPPED for job in jobs)


def stale(records: Iterable[EndpointRecord], jobs: Sequence[JobFacts]) -> tuple[EndpointRecord, ...]:
    """The records whose job does not run: their launcher was killed before it could take them back."""
    alive = {job.id for job in jobs if base_state(job.state) in RUNNING | STOPPED | ENDING}
    return tuple(record for record in records if record.job_id not in alive)


def memory_for(size: int, needed: Need | None) -> str:
    """The memory to ask of Slurm for a model whose file has ``size`` bytes.

    512 MiB for the engine and its libraries, and what the model needs with a tenth on top; where its file does not tell
    that, the weights and a quarter for the context.
    """
    told = (needed.weights + needed.cache + needed.compute) * 1.1 if needed else size * 1.25
    return f"{512 + math.ceil(told / 2**20)}M"


def select(replicas: Iterable[ReplicaWanted], target: str) -> tuple[ReplicaWanted, ...]:
    """The replicas that ``target`` means: a job's id, or else the name of a model."""
    everyone = tuple(replicas)
    by_job = tuple(one for one in everyone if target.isdigit() and one.job_id == int(target))
    return by_job or tuple(one for one in everyone if one.model == target)
