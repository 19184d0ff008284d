"""What the gateway and people are told of the models: the routes, and what `ps` shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ai_how.serving.replicas.decide import Observed
from ai_how.serving.replicas.desired import Desired, Told
from ai_how.serving.replicas.model import Phase, ReplicaStatus
from ai_how.serving.replicas.scaling import ModelMemory, expected
from ai_how.wire import ModelState
from ai_how.wire.routes import Demand, ModelRoute, ReplicaRoute

#: Seconds: a worker of the gateway that holds requests tells of itself each second; silent for longer it is gone.
SILENT_WORKER = 5.0
#: Seconds that a replica drains at least: a worker that chose it just before has told of it by then.
LEAST_DRAIN = 1.0


@dataclass(frozen=True)
class ModelView:
    """One model: what is wanted of it and how it is."""

    told: Told
    state: ModelState
    reason: str
    target: int
    expected: float | None
    detail: str
    failures: int
    replicas: tuple[ReplicaStatus, ...]

    def as_json(self) -> dict[str, object]:
        """The facts for ``ps --json``."""
        desired = self.told.desired
        version = desired.current
        return {
            "model": desired.model,
            "state": self.state,
            "reason": self.reason,
            "asked_by": self.told.origin,
            "replicas_wanted": self.target,
            "min": desired.scale.minimum,
            "max": desired.scale.maximum,
            "idle": desired.scale.idle,
            "wakes": desired.scale.wakes,
            "source": version.reference if version else None,
            "version": version.id if version else None,
            "registry_version": (version.label or None) if version else None,
            "canary": _canary(desired),
            "previous": desired.previous.reference if desired.previous else None,
            "stopped": desired.stopped,
            "said": desired.said,
            "expected": self.expected,
            "failures": self.failures,
            "log_tail": self.detail or None,
        }  # fmt: skip


def _canary(desired: Desired) -> dict[str, object] | None:
    version = desired.canary
    if version is None:
        return None
    return {"source": version.reference, "version": version.id, "weight": desired.canary_weight}


def views(
    told: Mapping[str, Told], observed: Observed, memory: Mapping[str, ModelMemory], now: float
) -> tuple[ModelView, ...]:
    """How every wanted model is, by name."""
    by_model: dict[str, list[ReplicaStatus]] = {}
    for one in observed.replicas:
        by_model.setdefault(one.wanted.model, []).append(one)
    return tuple(
        _view(one, by_model.get(name, []), memory.get(name, ModelMemory()), now)
        for name, one in sorted(told.items())
    )


def _view(told: Told, replicas: Sequence[ReplicaStatus], memory: ModelMemory, now: float) -> ModelView:
    desired = told.desired
    state, reason = _state(desired, replicas, memory)
    longest = max(memory.waits, default=0.0)
    starts = [
        float(one.job.start) if one.job and one.job.start else one.wanted.submitted + longest
        for one in replicas
        if one.phase in (Phase.PENDING, Phase.LOADING)
    ]
    when = expected(memory, starts, now) if state == "starting" else None
    detail = memory.detail if memory.failures else ""
    return ModelView(told, state, reason, memory.target or 0, when, detail, memory.failures, tuple(replicas))


def _state(
    desired: Desired, replicas: Sequence[ReplicaStatus], memory: ModelMemory
) -> tuple[ModelState, str]:
    answering = [one for one in replicas if one.phase is Phase.READY]
    if any(one.wanted.draining is None for one in answering):
        return "ready", desired.fault or memory.reason
    if desired.stopped:
        return "asleep", "stopped by command; `ai-how serve` or `ai-how up` takes that back"
    if desired.current is None:
        return "failed", desired.fault or "it could not be found"
    if memory.failed:
        return "failed", memory.failed
    if memory.target == 0:
        return "asleep", desired.fault or "nobody asks for it"
    coming = [one for one in replicas if one.phase in (Phase.PENDING, Phase.LOADING)]
    if coming:
        return "starting", coming[-1].reason
    return "starting", memory.reason or "it is being asked for"


def model_routes(shown: Iterable[ModelView]) -> tuple[ModelRoute, ...]:
    """What the gateway is told."""
    return tuple(
        ModelRoute(
            model=one.told.desired.model,
            state=one.state,
            wakes=one.told.desired.scale.wakes and not one.told.desired.stopped and one.state != "failed",
            expected=None if one.expected is None else round(one.expected),
            reason=one.reason if one.state != "ready" else "",
            replicas=tuple(_routes(one)),
        )
        for one in shown
    )


def _routes(view: ModelView) -> Iterable[ReplicaRoute]:
    desired = view.told.desired
    answering = [one for one in view.replicas if one.phase is Phase.READY]
    canary = desired.canary.id if desired.canary else ""
    apart = [one.wanted.model_version == canary and one.wanted.draining is None for one in answering]
    ours = sum(apart)
    others = sum(not its and one.wanted.draining is None for its, one in zip(apart, answering, strict=True))
    for its, one in zip(apart, answering, strict=True):
        weight = 1.0
        # Both are there: the canary's replicas share its part, the others share the rest.
        if ours and others:
            weight = desired.canary_weight / ours if its else (100 - desired.canary_weight) / others
        yield ReplicaRoute(
            nonce=one.wanted.nonce, weight=round(weight, 4), draining=one.wanted.draining is not None
        )


@dataclass(frozen=True)
class Heard:
    """What a worker of the gateway said last, and when it was heard here (seconds, monotonic)."""

    demand: Demand
    at: float


def drained(nonce: str, generation: int, age: float, workers: Iterable[Heard], now: float) -> bool:
    """Whether a replica that drains holds nothing any more.

    ``generation`` is that of the routes which said first that it drains, ``age`` how long ago that was. Every worker
    must have chosen by them and hold nothing on it. One that is silent has nothing to do, or is gone.
    """
    if age < LEAST_DRAIN:
        return False
    for one in workers:
        if now - one.at > SILENT_WORKER:
            continue
        if one.demand.replicas.get(nonce, 0):
            return False
        busy = any(load.waiting or load.active for load in one.demand.models.values())
        if busy and one.demand.generation < generation:
            return False
    return True
