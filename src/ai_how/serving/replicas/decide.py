"""What to do next, by what is wanted, what is seen, and the time. Pure: all that the reconciler does is decided here.

A replica that has to go, for whatever reason (its time limit, its node, its version, a notice), is marked as leaving
and goes on as before. Another is asked for in its place, and only when that one is ready does the leaving one drain:
it gets nothing new, ends what it holds, and its job is ended. Where no other comes, it serves to its own end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ai_how.serving.replicas.desired import Desired, ModelVersion, Told
from ai_how.serving.replicas.model import Phase, ReplicaStatus
from ai_how.serving.replicas.plan import STOPPED, base_state
from ai_how.serving.replicas.scaling import Load, ModelMemory, lead, remember, target

#: Seconds in rotation after which a replica may take the place of another one.
SETTLED = 0.5
#: Seconds without a fault after which earlier ones count no more.
HEALTHY = 60.0
#: Failures in a row after which a model is given up; the first and the longest pause between two starts, in seconds.
FAILURES, PAUSE, LONGEST_PAUSE = 5, 5.0, 300.0
#: Seconds that replicas of a model that nobody wants any more may take to end what they hold.
DRAIN = 600.0


@dataclass(frozen=True)
class Submit:
    """Ask Slurm for one replica more."""

    model: str
    version: ModelVersion
    why: str


@dataclass(frozen=True)
class End:
    """End a replica's job, if it has one still, and forget it. ``failed``: its last lines are worth keeping."""

    nonce: str
    model: str
    why: str
    failed: bool = False


@dataclass(frozen=True)
class Note:
    """Write something down in a replica's record; ``why`` is empty where nobody need be told."""

    nonce: str
    changes: Mapping[str, object]
    why: str = ""


Action = Submit | End | Note


@dataclass(frozen=True)
class Observed:
    """What was seen. ``certain`` is false while Slurm does not answer: then nothing is done to any job."""

    replicas: Sequence[ReplicaStatus] = ()
    load: Mapping[str, Load] = field(default_factory=dict)
    drained_nodes: frozenset[str] = frozenset()
    certain: bool = True


@dataclass(frozen=True)
class Decision:
    """What to do, in this order, and what to remember."""

    actions: tuple[Action, ...]
    memory: Mapping[str, ModelMemory]


def decide(
    told: Mapping[str, Told], observed: Observed, memory: Mapping[str, ModelMemory], now: float
) -> Decision:
    """One decision for all models. ``now`` is in seconds since the epoch."""
    by_model: dict[str, list[ReplicaStatus]] = {}
    for one in observed.replicas:
        by_model.setdefault(one.wanted.model, []).append(one)
    actions: list[Action] = []
    kept: dict[str, ModelMemory] = {}
    for name in sorted(told.keys() | by_model.keys()):
        desired = told[name].desired if name in told else None
        before = memory.get(name, ModelMemory())
        done, after = _model(name, desired, by_model.get(name, []), observed, before, now)
        actions += done
        if desired is not None:
            kept[name] = after
    return Decision(tuple(actions) if observed.certain else (), kept if observed.certain else dict(memory))


def _model(
    name: str,
    desired: Desired | None,
    replicas: Sequence[ReplicaStatus],
    observed: Observed,
    memory: ModelMemory,
    now: float,
) -> tuple[list[Action], ModelMemory]:
    if desired is not None and desired.said != memory.said:
        fresh = {
            "said": desired.said,
            "failures": 0,
            "not_before": 0.0,
            "failed": "",
            "reason": "",
            "detail": "",
        }
        memory = memory.model_copy(update=fresh)
    actions: list[Action] = []
    lost = [one for one in replicas if one.phase is Phase.LOST]
    alive = [one for one in replicas if one.phase in (Phase.PENDING, Phase.LOADING, Phase.READY)]
    for one in lost:
        failed = _is_failure(one)
        actions.append(End(one.wanted.nonce, name, one.reason, failed))
        memory = failure(memory, one.reason, now) if failed else memory
    for one in alive:
        memory, noted = _learn(one, memory, now)
        actions += noted
    if memory.failures and any(
        one.wanted.readied is not None and now - one.wanted.readied > HEALTHY
        for one in alive
        if one.phase is Phase.READY
    ):
        memory = memory.model_copy(update={"failures": 0, "failed": "", "reason": "", "detail": ""})
    count, memory = _count(desired, alive, observed.load.get(name, Load()), memory, now)
    alive, marked = _marked(desired, alive, observed, memory, now)
    actions += marked
    for version, goal, members in _groups(desired, count, alive):
        actions += _group(name, version, goal, members, memory, now)
    actions += _ending(desired, alive, now)
    return actions, memory


def _is_failure(one: ReplicaStatus) -> bool:
    """Whether a loss counts against the model: a fault of the engine's, or an end before it ever answered."""
    if one.wanted.leaving or one.wanted.draining is not None:
        return False
    cancelled = one.job is not None and base_state(one.job.state) in ("CANCELLED", "NODE_FAIL", "PREEMPTED")
    return one.faulty or (one.wanted.readied is None and one.job is not None and not cancelled)


def failure(memory: ModelMemory, reason: str, now: float) -> ModelMemory:
    """One failure more. Several at once, of replicas that were started together, count as one."""
    if now < memory.not_before:
        return memory
    failures = memory.failures + 1
    pause = 0.0 if failures == 1 else min(PAUSE * 2 ** (failures - 2), LONGEST_PAUSE)
    failed = f"{failures} failures in a row, the last one: {reason}" if failures >= FAILURES else ""
    changes = {"failures": failures, "not_before": now + pause, "failed": failed, "reason": reason}
    return memory.model_copy(update=changes)


def _learn(one: ReplicaStatus, memory: ModelMemory, now: float) -> tuple[ModelMemory, list[Action]]:
    """How long it waited in the queue, and how long it took to load."""
    changes: dict[str, object] = {}
    started = one.wanted.started
    if started is None and one.phase in (Phase.LOADING, Phase.READY):
        # Slurm tells whole seconds.
        started = max(float(one.job.start), one.wanted.submitted) if one.job and one.job.start else now
        changes["started"] = started
        memory = memory.model_copy(update={"waits": remember(memory.waits, started - one.wanted.submitted)})
    if one.wanted.readied is None and one.phase is Phase.READY:
        changes["readied"] = now
        memory = memory.model_copy(update={"loads": remember(memory.loads, now - (started or now))})
    return memory, [Note(one.wanted.nonce, changes)] if changes else []


def _count(
    desired: Desired | None, alive: Sequence[ReplicaStatus], load: Load, memory: ModelMemory, now: float
) -> tuple[int, ModelMemory]:
    if desired is None or desired.stopped or desired.current is None:
        return 0, memory.model_copy(update={"target": None})
    if desired.awake:
        load = replace(load, asked=max(load.asked, desired.said))
    ready = sum(one.phase is Phase.READY and one.wanted.draining is None for one in alive)
    return target(desired.scale, desired.current.slots, memory, load, ready, now)


# --- who has to go ----------------------------------------------------------------------------------


def _marked(
    desired: Desired | None,
    alive: Sequence[ReplicaStatus],
    observed: Observed,
    memory: ModelMemory,
    now: float,
) -> tuple[list[ReplicaStatus], list[Action]]:
    """The replicas, those marked that have to leave; and the notes of it."""
    if desired is None or desired.current is None:
        return list(alive), []
    pending = [
        one.job.start - now for one in alive if one.phase is Phase.PENDING and one.job and one.job.start > now
    ]
    ahead = lead(memory, desired.margin, pending)
    found, actions = [], list[Action]()
    for one in alive:
        why = "" if one.wanted.leaving else _why_leave(one, desired, observed.drained_nodes, ahead, now)
        if why:
            actions.append(Note(one.wanted.nonce, {"leaving": why}, f"is to be replaced: {why}"))
            one = replace(one, wanted=one.wanted.model_copy(update={"leaving": why}))
        found.append(one)
    return found, actions


def _why_leave(
    one: ReplicaStatus, desired: Desired, drained: frozenset[str], ahead: float, now: float
) -> str:
    if one.wanted.model_version not in _versions(desired):
        return "another version is wanted"
    if one.record is not None and one.record.leaving:
        return "Slurm has told it that its end is near"
    if one.node and one.node in drained:
        return f"its node {one.node} is drained"
    if one.job is None:
        return ""
    if base_state(one.job.state) in STOPPED:
        return one.reason
    # However long a successor may take, the first half of its time is its own: replacing never ends otherwise.
    life = one.job.end - one.job.start if one.job.start else math.inf
    if one.phase is Phase.READY and one.job.end and one.job.end - now <= min(ahead, life / 2):
        return "its time limit is near"
    return ""


def _versions(desired: Desired) -> tuple[str, ...]:
    return tuple(version.id for version in (desired.current, desired.canary) if version is not None)


# --- those of one version ---------------------------------------------------------------------------


def _groups(
    desired: Desired | None, count: int, alive: Sequence[ReplicaStatus]
) -> Iterator[tuple[ModelVersion | None, int, list[ReplicaStatus]]]:
    """The replicas by the version that they serve: the canary's, and all others."""
    canary = desired.canary if desired else None
    others = [one for one in alive if canary is None or one.wanted.model_version != canary.id]
    yield (desired.current if desired else None), count, others
    if canary is not None:
        yield (
            canary,
            min(count, 1),
            [one for one in alive if one.wanted.model_version == canary.id],
        )


def _group(
    name: str,
    version: ModelVersion | None,
    goal: int,
    members: Sequence[ReplicaStatus],
    memory: ModelMemory,
    now: float,
) -> Iterator[Action]:
    staying = [one for one in members if not one.wanted.leaving and one.wanted.draining is None]
    leaving = [
        one
        for one in members
        if one.wanted.leaving and one.wanted.draining is None and one.phase is Phase.READY
    ]
    if version is not None and len(staying) < goal and not memory.failed and now >= memory.not_before:
        why = f"in the place of job {leaving[0].wanted.job_id}" if leaving else f"{goal} wanted"
        for _ in range(_starts(goal, staying, len(leaving))):
            yield Submit(name, version, why)
    for one in sorted(staying, key=_least_missed)[: max(len(staying) - goal, 0)]:
        if one.phase is Phase.READY:
            yield _drain(one, "it is needed no more", now)
        else:
            yield End(one.wanted.nonce, name, "it is needed no more")
    settled = sum(
        one.phase is Phase.READY and one.wanted.readied is not None and now - one.wanted.readied >= SETTLED
        for one in staying
    )
    spare = len(leaving) if goal == 0 else min(settled, goal) + len(leaving) - goal
    for one in sorted(leaving, key=_end)[: max(spare, 0)]:
        yield _drain(one, one.wanted.leaving, now)


def _starts(goal: int, staying: Sequence[ReplicaStatus], leaving: int) -> int:
    """How many to start. Beside those that still serve only a quarter at once: each takes what others may need."""
    missing = goal - len(staying)
    if not leaving:
        return missing
    coming = sum(one.phase is not Phase.READY for one in staying)
    bare = max(goal - len(staying) - leaving, 0)
    return min(missing, max(bare, math.ceil(goal / 4) - coming, 0))


def _least_missed(one: ReplicaStatus) -> tuple[int, float]:
    """Those that wait before those that load, these before those that answer; the nearest end first."""
    order = {Phase.PENDING: 0, Phase.LOADING: 1}.get(one.phase, 2)
    return order, _end(one) if order == 2 else -one.wanted.submitted


def _end(one: ReplicaStatus) -> float:
    return float(one.job.end) if one.job and one.job.end else math.inf


def _drain(one: ReplicaStatus, why: str, now: float) -> Note:
    return Note(one.wanted.nonce, {"draining": now, "leaving": why}, f"gets nothing new: {why}")


def _ending(desired: Desired | None, alive: Sequence[ReplicaStatus], now: float) -> Iterator[Action]:
    """Those that have nothing left to do."""
    longest = desired.drain if desired else DRAIN
    for one in alive:
        name, nonce = one.wanted.model, one.wanted.nonce
        if one.wanted.draining is not None:
            if one.phase is not Phase.READY or one.drained:
                yield End(nonce, name, "it has ended what it held")
            elif now - one.wanted.draining >= longest:
                yield End(nonce, name, f"it did not end what it held within {longest:g} s")
        elif one.wanted.leaving and one.phase is not Phase.READY and not _suspended(one):
            yield End(nonce, name, one.wanted.leaving)


def _suspended(one: ReplicaStatus) -> bool:
    return one.job is not None and base_state(one.job.state) in STOPPED
