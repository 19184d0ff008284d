"""Which replica gets a request. Pure, but for what a model's :class:`Choice` remembers from one request to the next.

Among replicas of equal weight the one with the fewest tokens in flight, or the one that had the same leading messages
last if that is not much busier. Where weights differ, as while a canary runs, the weights decide first.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from ai_how.serving.gateway.seats import Seat

# A replica that has a prompt's beginning in its cache is worth so many requests and tokens more in flight on it.
_LEAN_REQUESTS = 2
_LEAN_TOKENS = 8192
# Leading messages that are told apart, and characters of one; beginnings that are remembered for a model.
_LEADING = 16
_CHARACTERS = 4096
_REMEMBERED = 8192
# Replicas that are compared for one request.
_LOOKED_AT = 16


def free(seats: Iterable[Seat], since: float, tried: Container[str] = ()) -> list[Seat]:
    """The replicas that can take another request and whose last heartbeat is not before ``since``.

    Those that failed, and have not shown by a later heartbeat that they live, only when there are no others, and never
    for a request that has ``tried`` them already.
    """
    sound: list[Seat] = []
    doubtful: list[Seat] = []
    for seat in seats:
        if seat.heartbeat < since or seat.requests >= seat.limit:
            continue
        if seat.heartbeat > seat.failed:
            sound.append(seat)
        elif seat.nonce not in tried:
            doubtful.append(seat)
    return sound or doubtful


def least(seats: Sequence[Seat]) -> Seat:
    """The one with the fewest tokens in flight, then requests; of equals the one that was asked longest ago."""
    fewest = min(seat.tokens for seat in seats)
    alike = [seat for seat in seats if seat.tokens == fewest]
    return alike[0] if len(alike) == 1 else min(alike, key=lambda seat: (seat.requests, seat.turn))


def lean(seats: Sequence[Seat], last: str | None) -> Seat:
    """The least busy replica, or the one that had this beginning ``last``, if that is not much busier."""
    best = least(seats)
    if last is None or best.nonce == last:
        return best
    for seat in seats:
        if seat.nonce == last:
            near = (
                seat.requests - best.requests <= _LEAN_REQUESTS and seat.tokens - best.tokens <= _LEAN_TOKENS
            )
            # Its engine would let it wait while another is idle: the cache is not worth that.
            return seat if near and (seat.slots is None or seat.requests < seat.slots) else best
    return best


def turn(current: Mapping[float, float], weights: Mapping[float, float]) -> tuple[float, dict[float, float]]:
    """Smooth weighted round robin: who is next, and what is kept for the next turn.

    Each key gets its share of every stretch of turns, spread evenly, and always in the same order.
    """
    after = {key: current.get(key, 0.0) + weight for key, weight in weights.items()}
    picked = max(after, key=lambda key: (after[key], key))
    after[picked] -= sum(weights.values())
    return picked, after


class Choice:
    """What is remembered of one model: whose turn it is by weight, and who had which beginning."""

    def __init__(self) -> None:
        self._turns: dict[float, float] = {}
        self._last: OrderedDict[int, str] = OrderedDict()
        self._count = 0

    def pick(
        self,
        seats: Sequence[Seat],
        beginnings: Sequence[int],
        *,
        since: float,
        tried: Container[str] = (),
        mixed: bool = False,
    ) -> Seat | None:
        """One of a model's replicas; None when none can take another request. See :func:`free`."""
        found: list[Seat] = []
        if len(seats) > _LOOKED_AT and not mixed:
            found = free(self._some(seats, beginnings), since, tried)
        if not found:
            found = free(seats, since, tried)
        return self.of(found, beginnings, mixed=mixed) if found else None

    def _some(self, seats: Sequence[Seat], beginnings: Sequence[int]) -> list[Seat]:
        """Some of many, others each time, and the one that had this beginning last: their least busy is near enough to
        the least busy of all."""
        step = -(-len(seats) // _LOOKED_AT)
        some = list(seats[self._count % step :: step])
        if (last := self._had(beginnings)) is not None:
            some += [seat for seat in seats if seat.nonce == last and seat not in some]
        return some

    def of(self, seats: Sequence[Seat], beginnings: Sequence[int], *, mixed: bool) -> Seat:
        """One of ``seats``, which can all take a request."""
        if mixed:
            weights: dict[float, float] = {}
            for seat in seats:
                weights[seat.weight] = weights.get(seat.weight, 0.0) + seat.weight
            weight, self._turns = turn(self._turns, weights)
            seats = [seat for seat in seats if seat.weight == weight]
        chosen = seats[0] if len(seats) == 1 else lean(seats, self._had(beginnings))
        self._count += 1
        chosen.turn = self._count
        for key in beginnings:
            self._last[key] = chosen.nonce
            self._last.move_to_end(key)
        while len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return chosen

    def _had(self, beginnings: Sequence[int]) -> str | None:
        """Who had the longest of these beginnings last."""
        for key in reversed(beginnings):
            if (nonce := self._last.get(key)) is not None:
                return nonce
        return None


def beginnings(prompt: Any) -> tuple[int, ...]:
    """Numbers for the beginnings of a prompt, the shortest first: up to each leading message, or stretch of a text.

    Equal beginnings have equal numbers in every worker; different ones meet by chance, which costs nothing but a cache.
    """
    found: list[int] = []
    value = 0
    if isinstance(prompt, str):
        prompt = [prompt[start : start + _CHARACTERS] for start in range(0, len(prompt), _CHARACTERS)]
    if not isinstance(prompt, list):
        return ()
    for one in prompt[:_LEADING]:
        value = zlib.crc32(_words(one).encode("utf-8", "replace"), value)
        found.append(value)
    return tuple(found)


def _words(one: Any) -> str:
    """The first characters of a message, whoever says it; of pictures their beginning."""
    if isinstance(one, str):
        return one[:_CHARACTERS]
    if not isinstance(one, dict):
        return str(one)[:64]
    content = one.get("content")
    if isinstance(content, list):
        content = "".join(_part(part) for part in content[:_LEADING])
    return f"{one.get('role')}:{content[:_CHARACTERS] if isinstance(content, str) else ''}"


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    if isinstance(text := part.get("text"), str):
        return text[:_CHARACTERS]
    url = part.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    return f"{url[:256]}{len(url)}" if isinstance(url, str) else ""
