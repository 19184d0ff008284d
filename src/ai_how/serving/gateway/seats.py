"""The replicas that may be asked, by model: the routes joined with the endpoint records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ai_how.serving.gateway.model import Replica
from ai_how.wire import ModelRoute, ModelState, ReplicaRoute, Routes

NEVER = float("-inf")
# Without a word of an engine's slots so many requests are given to it at once; to one that has some, so many a slot:
# one that waits inside begins without a pause when another ends.
_WITHOUT_SLOTS = 256
_PER_SLOT = 2


def limit(slots: int | None, workers: int) -> int:
    """The requests that one worker of the gateway gives to a replica at once; what is above waits in the gateway.

    All slots, even where there are many workers: nobody knows that the others have something to do.
    """
    return _WITHOUT_SLOTS if slots is None else max(slots, -(-slots * _PER_SLOT // workers))


class Seat:
    """One replica as requests are given to it. It stays the same object while the replica has a record.

    ``requests`` and ``tokens`` (an estimate) are in flight on it; ``slots`` is how many requests its engine works on at
    once, None where nobody has said, and ``limit`` how many it gets; ``failed`` is when it refused one (epoch seconds);
    ``turn`` counts up with each request that is given to any replica, and tells the one that was asked longest ago.
    """

    __slots__ = (
        "failed", "heartbeat", "limit", "nonce", "replica", "requests", "slots", "tokens", "turn", "weight",
    )  # fmt: skip

    def __init__(self, replica: Replica, weight: float = 1.0, workers: int = 1) -> None:
        self.nonce = replica.record.nonce
        self.requests = 0
        self.tokens = 0
        self.failed = NEVER
        self.turn = 0
        self.update(replica, weight, workers)

    def update(self, replica: Replica, weight: float, workers: int) -> None:
        """Take over what a newer record and newer routes say."""
        self.replica = replica
        self.heartbeat = replica.record.heartbeat
        self.slots = replica.record.slots
        self.limit = limit(self.slots, workers)
        self.weight = weight


@dataclass(frozen=True, slots=True)
class Served:
    """One model: how it is by the routes, and the replicas that may be asked.

    ``routed`` is False where there are no routes: then whoever has a record is asked. ``known`` is when the model's
    oldest replica became ready (epoch seconds), 0 where there is none. ``mixed``: the weights of its replicas differ.
    """

    model: str
    seats: tuple[Seat, ...]
    mixed: bool = False
    routed: bool = False
    state: ModelState = "ready"
    wakes: bool = False
    expected: float | None = None
    reason: str = ""
    known: float = 0.0

    def alive(self, now: float, stale_after: float) -> bool:
        """Whether a replica is there to be asked."""
        return any(now - seat.heartbeat <= stale_after for seat in self.seats)


def join(
    routes: Routes | None, replicas: Iterable[Replica], seats: dict[str, Seat], workers: int = 1
) -> dict[str, Served]:
    """The models by name. ``seats`` are those of before, by nonce; new ones join them, and those without a record that
    hold nothing leave."""
    records = {replica.record.nonce: replica for replica in replicas}
    for nonce in [nonce for nonce, seat in seats.items() if nonce not in records and not seat.requests]:
        del seats[nonce]
    if routes is None:
        return _unrouted(records.values(), seats, workers)
    return {route.model: _routed(route, records, seats, workers) for route in routes.models}


def _unrouted(replicas: Iterable[Replica], seats: dict[str, Seat], workers: int) -> dict[str, Served]:
    models: dict[str, list[Seat]] = {}
    for replica in replicas:
        models.setdefault(replica.record.model, []).append(_seat(replica, 1.0, seats, workers))
    return {
        model: Served(model, _ordered(found), known=_since(found)) for model, found in sorted(models.items())
    }


def _routed(
    route: ModelRoute, records: Mapping[str, Replica], seats: dict[str, Seat], workers: int
) -> Served:
    found = [
        _seat(replica, one.weight, seats, workers)
        for one, replica in _recorded(route.replicas, records, route.model)
    ]
    return Served(
        route.model,
        _ordered(found),
        mixed=len({seat.weight for seat in found}) > 1,
        routed=True,
        state=route.state,
        wakes=route.wakes,
        expected=route.expected,
        reason=route.reason,
        known=_since(found),
    )


def _recorded(
    routes: Iterable[ReplicaRoute], records: Mapping[str, Replica], model: str
) -> Iterator[tuple[ReplicaRoute, Replica]]:
    """The replicas that may get something new and whose record is here."""
    for one in routes:
        replica = records.get(one.nonce)
        if replica is not None and replica.record.model == model and one.weight > 0 and not one.draining:
            yield one, replica


def _seat(replica: Replica, weight: float, seats: dict[str, Seat], workers: int) -> Seat:
    seat = seats.get(replica.record.nonce)
    if seat is None:
        seat = seats[replica.record.nonce] = Seat(replica, weight, workers)
    else:
        seat.update(replica, weight, workers)
    return seat


def _ordered(seats: Sequence[Seat]) -> tuple[Seat, ...]:
    return tuple(sorted(seats, key=lambda seat: seat.nonce))


def _since(seats: Iterable[Seat]) -> float:
    return min((seat.replica.record.started for seat in seats), default=0.0)
