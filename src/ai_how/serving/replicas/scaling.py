"""How many replicas a model needs, and how long one takes to come. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from ai_how.serving.replicas.desired import Scale

#: Seconds taken for the load of a model that was never loaded before.
UNKNOWN_LOAD = 60.0
#: Steps, in seconds, in which one that is late is foretold.
_LATE = 15.0
#: How many waits and loads are remembered.
REMEMBERED = 20


@dataclass(frozen=True)
class Load:
    """What the gateway says of a model, over all its workers. ``asked`` is when it was asked last, 0 for never."""

    waiting: int = 0
    active: int = 0
    tokens: int = 0
    asked: float = 0.0

    @property
    def busy(self) -> bool:
        return self.waiting > 0 or self.active > 0


class ModelMemory(BaseModel):
    """What is remembered of a model from pass to pass. Losing it loses no replica.

    ``target`` is how many replicas it was to have; ``more_since`` and ``fewer_since`` since when other numbers were
    needed. ``asked`` when a request came last. ``failures`` in a row, no new one ``not_before``; ``failed`` says why it
    was given up, ``detail`` has the last lines of the engine's log, ``said`` is the word that all this is about.
    ``waits`` and ``loads`` are the seconds from submission to start and from start to the first answer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    target: int | None = None
    more_since: float | None = None
    fewer_since: float | None = None
    asked: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    failed: str = ""
    reason: str = ""
    detail: str = ""
    said: float = 0.0
    waits: tuple[float, ...] = ()
    loads: tuple[float, ...] = ()


def target(
    scale: Scale, slots: int, memory: ModelMemory, load: Load, ready: int, now: float
) -> tuple[int, ModelMemory]:
    """How many replicas there should be now, and what to remember.

    While none is ready nobody knows how fast one is, so a model that wakes gets one. More are added when that has been
    needed for ``up_after`` seconds, and taken away when fewer have been enough for ``down_after``.
    """
    asked = max(memory.asked, load.asked, now if load.busy else 0.0)
    memory = memory.model_copy(update={"asked": asked})
    least = max(scale.minimum, 1)
    current = memory.target
    if scale.minimum == 0 and not load.busy and (scale.idle is None or now - asked > scale.idle):
        asleep = scale.idle is not None or not asked
        if asleep:
            return _settled(0, memory)
    if current is None or current < least or current > scale.maximum:
        return _settled(min(max(current or 0, least), scale.maximum), memory)
    if ready == 0:
        return _settled(current, memory)
    needed = min(max(_needed(scale, slots, load), least), scale.maximum)
    more = (memory.more_since or now) if needed > current else None
    fewer = (memory.fewer_since or now) if needed < current else None
    memory = memory.model_copy(update={"more_since": more, "fewer_since": fewer})
    if (more is not None and now - more >= scale.up_after) or (
        fewer is not None and now - fewer >= scale.down_after
    ):
        return _settled(needed, memory)
    return current, memory


def _settled(count: int, memory: ModelMemory) -> tuple[int, ModelMemory]:
    return count, memory.model_copy(update={"target": count, "more_since": None, "fewer_since": None})


def _needed(scale: Scale, slots: int, load: Load) -> int:
    by_requests = math.ceil((load.waiting + load.active) / (slots + scale.queue))
    by_tokens = math.ceil(load.tokens / scale.tokens) if scale.tokens else 0
    return max(by_requests, by_tokens)


def lead(memory: ModelMemory, margin: float, pending: Iterable[float] = ()) -> float:
    """How long before its end a replica needs its successor to be asked for, in seconds.

    The longest wait in the queue of those remembered, or of what Slurm expects for those that wait right now
    (``pending``); the longest load remembered; and ``margin``.
    """
    wait = max((*memory.waits, *pending), default=0.0)
    return wait + max(memory.loads, default=UNKNOWN_LOAD) + margin


def expected(memory: ModelMemory, starts: Sequence[float], now: float) -> float | None:
    """When a replica should be ready, in seconds since the epoch; None when none is on its way.

    ``starts`` are when those on their way started, or will by Slurm's estimate. One that is late is told of a few
    seconds ahead, in steps, so that what the gateway is told does not change with every look.
    """
    if not starts:
        return None
    when = min(starts) + max(memory.loads, default=UNKNOWN_LOAD)
    return when if when > now else math.ceil((now + 1) / _LATE) * _LATE


def remember(values: tuple[float, ...], value: float) -> tuple[float, ...]:
    """The last of them, and this one."""
    return (*values, round(max(value, 0.0), 2))[-REMEMBERED:]
