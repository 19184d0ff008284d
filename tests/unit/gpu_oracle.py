"""A planner that is slow and plain, to check the real one against: it tries everything, from tables of its own.

Nothing of ``ai_how.gpu`` is used here. A device's end is a set of slices; ``answer`` goes through the ends of all
devices and through every way to give their slices to the demands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

#: kind: memory slices, compute slices, decoders (0: not counted), and for each profile what it takes:
#: compute slices, memory slices, starts, how many fit, GB, whether it has the media engines, decoders.
Row = tuple[int, int, tuple[int, ...], int, int, bool, int]
ANY = (0, 1, 2, 3, 4, 5, 6)


def _big(one: int, two: int, half: int, full: int) -> dict[str, Row]:
    return {
        f"1g.{one}gb": (1, 1, ANY, 7, one, False, 0),
        f"1g.{one}gb+me": (1, 1, ANY, 1, one, True, 0),
        f"1g.{two}gb": (1, 2, (0, 2, 4, 6), 4, two, False, 0),
        f"2g.{two}gb": (2, 2, (0, 2, 4), 3, two, False, 0),
        f"3g.{half}gb": (3, 4, (0, 4), 2, half, False, 0),
        f"4g.{half}gb": (4, 4, (0,), 1, half, False, 0),
        f"7g.{full}gb": (7, 8, (0,), 1, full, False, 0),
    }


TABLES: dict[str, tuple[int, int, int, dict[str, Row]]] = {
    "a30": (
        *(4, 4, 0),
        {
            "1g.6gb": (1, 1, (0, 1, 2, 3), 4, 6, False, 0),
            "1g.6gb+me": (1, 1, (0, 1, 2, 3), 1, 6, True, 0),
            "2g.12gb": (2, 2, (0, 2), 2, 12, False, 0),
            "2g.12gb+me": (2, 2, (0, 2), 1, 12, True, 0),
            "4g.24gb": (4, 4, (0,), 1, 24, False, 0),
        },
    ),
    "a100-40": (8, 7, 0, _big(5, 10, 20, 40)),
    "a100-80": (8, 7, 0, _big(10, 20, 40, 80)),
    "h100-80": (8, 7, 0, _big(10, 20, 40, 80)),
    "rtx-pro-6000": (
        *(12, 4, 4),
        {
            "1g.24gb": (1, 3, (0, 3, 6, 9), 4, 24, False, 1),
            "1g.24gb+me": (1, 3, (0, 3, 6, 9), 1, 24, True, 1),
            "1g.24gb+gfx": (1, 3, (0, 3, 6, 9), 4, 24, False, 1),
            "1g.24gb+me.all": (1, 3, (0, 3, 6, 9), 1, 24, True, 4),
            "1g.24gb-me": (1, 3, (0, 3, 6, 9), 4, 24, False, 0),
            "2g.48gb": (2, 6, (0, 6), 2, 48, False, 2),
            "2g.48gb+gfx": (2, 6, (0, 6), 2, 48, False, 2),
            "2g.48gb+me.all": (2, 6, (0, 6), 1, 48, True, 4),
            "2g.48gb-me": (2, 6, (0, 6), 2, 48, False, 0),
            "4g.96gb": (4, 12, (0,), 1, 96, False, 4),
            "4g.96gb+gfx": (4, 12, (0,), 1, 96, False, 4),
        },
    ),
    "l40": (0, 0, 0, {}),
}
MEMORY = {"l40": 48}
Spot = tuple[int, str]
End = frozenset[Spot]
WHOLE: End = frozenset({(-1, "whole")})


@dataclass(frozen=True)
class Card:
    """A device: its kind, what is held on it as (start, profile, consumer, running), and who has the whole of it."""

    name: str
    kind: str
    held: tuple[tuple[int, str, str | None, bool], ...] = ()
    whole: tuple[str, bool] | None = None
    allowed: tuple[str, ...] | None = None

    @property
    def profiles(self) -> tuple[str, ...]:
        names = TABLES[self.kind][3]
        return tuple(name for name in names if self.allowed is None or name in self.allowed)

    @property
    def there(self) -> dict[Spot, tuple[str | None, bool]]:
        found = {(start, name): (who, running) for start, name, who, running in self.held}
        return {**found, (-1, "whole"): self.whole} if self.whole else {**found}


@dataclass(frozen=True)
class Wish:
    """A demand: ``what`` is a profile, ``whole``, or (GB, compute slices) at least."""

    name: str
    consumer: str
    count: int
    what: str | tuple[int, int]
    device: str | None = None
    start: int | None = None
    spread: bool = False


@cache
def legal(kind: str, end: End) -> bool:
    """Whether these slices can stand together."""
    memory, compute, decoders, table = TABLES[kind]
    taken = [slice_ for start, name in end for slice_ in range(start, start + table[name][1])]
    count = Counter(name for _, name in end)
    return (
        len(taken) == len(set(taken))
        and all(0 <= slice_ < memory for slice_ in taken)
        and all(start in table[name][2] for start, name in end)
        and sum(table[name][0] for _, name in end) <= compute
        and all(many <= table[name][3] for name, many in count.items())
        and sum(table[name][5] for _, name in end) <= 1
        and (not decoders or sum(table[name][6] for _, name in end) <= decoders)
    )


@cache
def ends(kind: str, names: tuple[str, ...] | None = None) -> tuple[End, ...]:
    """Every set of slices that can stand on a device, grown one slice at a time."""
    table = TABLES[kind][3]
    spots = [(start, name) for name in (names if names is not None else table) for start in table[name][2]]
    found: set[End] = {frozenset()}
    edge = found
    while edge:
        edge = {
            end | {spot} for end in edge for spot in spots if spot not in end and legal(kind, end | {spot})
        }
        edge -= found
        found = found | edge
    return tuple(sorted(found, key=sorted))


@cache
def room(kind: str, end: End, allowed: tuple[str, ...]) -> int:
    """The largest slice that could still be placed, memory before compute; an empty device without any: its memory."""
    if end == WHOLE:
        return 0
    table = TABLES[kind][3]
    if not allowed:
        return 0 if end else MEMORY.get(kind, 0) * 16
    values = [0]
    for name in allowed:
        if any((start, name) not in end and legal(kind, end | {(start, name)}) for start in table[name][2]):
            values.append(table[name][4] * 16 + table[name][0])
    return max(values)


def takes(wish: Wish, card: Card) -> str | None:
    """What a wish takes on a device: a profile, ``whole`` or nothing."""
    if wish.device not in (None, card.name):
        return None
    if wish.what == "whole":
        return "whole"
    table = TABLES[card.kind][3]
    names = list(card.profiles)
    if isinstance(wish.what, tuple):
        names = [n for n in names if table[n][4] >= wish.what[0] and table[n][0] >= wish.what[1]]
        names = [n for n in names if n.endswith("gb")] or names
        names.sort(key=lambda n: (table[n][1], table[n][0], table[n][4], n))
    else:
        names = [n for n in names if n == wish.what]
    if not names or (wish.start is not None and wish.start not in table[names[0]][2]):
        return None
    return names[0]


def does(wish: Wish, card: Card, spot: Spot) -> bool:
    """Whether a wish may have that slice: what it takes there, or, of its own, more than it asks at least."""
    if wish.start not in (None, spot[0]) and spot[1] != "whole":
        return False
    name = takes(wish, card)
    if name is None or name == spot[1]:
        return name is not None
    if not isinstance(wish.what, tuple) or spot[1] == "whole" or spot[1] not in card.profiles:
        return False
    row = TABLES[card.kind][3][spot[1]]
    mine = card.there.get(spot, (None, False))[0] == wish.consumer
    return mine and row[4] >= wish.what[0] and row[0] >= wish.what[1]


def _ends(card: Card, wishes: tuple[Wish, ...]) -> list[End]:
    """The ends of a device that use nothing but what is asked or there."""
    table = TABLES[card.kind][3]
    names = {name for wish in wishes if (name := takes(wish, card))} | {name for _, name, *_ in card.held}
    found = list(ends(card.kind, tuple(name for name in table if name in names)))
    own = card.there
    most = {name: sum(wish.count for wish in wishes if takes(wish, card) == name) for name in names}
    found = [
        end
        for end in found
        if all(spot in own or spot[1] in card.profiles for spot in end)
        and all(many <= most[name] for name, many in Counter(n for s, n in end if (s, n) not in own).items())
    ]
    whole = any(takes(wish, card) == "whole" for wish in wishes) or card.whole is not None
    return [*found, WHOLE] if whole else found


def answer(cards: tuple[Card, ...], wishes: tuple[Wish, ...]) -> tuple[int, ...] | None:
    """The best that can be reached, smaller is better; None when the wishes cannot be met.

    Consumers disturbed, devices that host spread wishes (negative), devices in use, the largest room and the sum of
    rooms (negative), what is kept by its consumer and what is kept at all (negative).
    """
    best: tuple[int, ...] | None = None
    units = sum(wish.count for wish in wishes)
    for state in product(*(_ends(card, wishes) for card in cards)):
        spots = [(card, spot) for card, end in zip(cards, state, strict=True) for spot in sorted(end)]
        running = sum(card.there.get(spot, (None, False))[1] for card, spot in spots)
        if not units <= len(spots) <= units + running:
            continue
        rooms = [room(card.kind, end, card.profiles) for card, end in zip(cards, state, strict=True)]
        after = (sum(bool(end) for end in state), -max(rooms, default=0), -sum(rooms))
        there = sum(spot in card.there for card, spot in spots)
        for lost, hosts, own in _givings(cards, spots, wishes):
            found = (lost, -hosts, *after, -own, -there)
            if best is None or found < best:
                best = found
    return best


def _givings(
    cards: tuple[Card, ...], spots: list[tuple[Card, Spot]], wishes: tuple[Wish, ...]
) -> Iterator[tuple[int, int, int]]:
    """Every way to give these slices to the wishes: consumers disturbed, hosts of spread wishes, slices kept."""
    before = {
        (card.name, spot): who
        for card in cards
        for spot, (who, runs) in card.there.items()
        if runs and who is not None
    }
    seen: set[tuple[int, int, int]] = set()

    def give(at: int, left: tuple[int, ...], takers: tuple[int, ...]) -> None:
        if at == len(spots):
            if not any(left):
                seen.add(worth(before, spots, wishes, takers))
            return
        card, spot = spots[at]
        if (card.name, spot) in before:
            give(at + 1, left, (*takers, -1))
        for number, wish in enumerate(wishes):
            if left[number] and does(wish, card, spot):
                give(at + 1, (*left[:number], left[number] - 1, *left[number + 1 :]), (*takers, number))

    give(0, tuple(wish.count for wish in wishes), ())
    yield from seen


def worth(
    before: dict[tuple[str, Spot], str],
    spots: list[tuple[Card, Spot]],
    wishes: tuple[Wish, ...],
    takers: tuple[int, ...],
) -> tuple[int, int, int]:
    """How good one way is: consumers disturbed, hosts of spread wishes, slices kept by their consumer."""
    safe = set()
    own = 0
    hosts: dict[int, set[str]] = {n: set() for n, wish in enumerate(wishes) if wish.spread and wish.count > 1}
    for (card, spot), taker in zip(spots, takers, strict=True):
        holder = card.there.get(spot, (None, False))[0]
        if taker == -1 or (holder is not None and wishes[taker].consumer == holder):
            safe.add((card.name, spot))
        if taker != -1 and holder is not None and wishes[taker].consumer == holder:
            own += 1
        if taker in hosts:
            hosts[taker].add(card.name)
    lost = {who for place, who in before.items() if place not in safe}
    return len(lost), sum(len(names) for names in hosts.values()), own


def multisets(kind: str, names: tuple[str, ...] | None = None) -> list[tuple[tuple[str, int], ...]]:
    """Every multiset of profiles that counting accepts: maxima and compute slices, and nothing of memory slices."""
    _, compute, _, table = TABLES[kind]
    chosen = names if names is not None else tuple(table)
    found = [
        tuple((name, count) for name, count in zip(chosen, counts, strict=True) if count)
        for counts in product(*(range(table[name][3] + 1) for name in chosen))
        if 0 < sum(table[name][0] * count for name, count in zip(chosen, counts, strict=True)) <= compute
    ]
    return found


@cache
def _by_multiset(kind: str, names: tuple[str, ...]) -> dict[frozenset[tuple[str, int]], tuple[End, ...]]:
    found: dict[frozenset[tuple[str, int]], list[End]] = {}
    for end in ends(kind, names):
        found.setdefault(frozenset(Counter(name for _, name in end).items()), []).append(end)
    return {key: tuple(same) for key, same in found.items()}


def alone(kind: str, held: End, wanted: tuple[tuple[str, int], ...]) -> tuple[int, int, int] | None:
    """One device on which all that is held runs, each slice for a consumer of its own, and slices that others want.

    Consumers disturbed, the largest room afterwards, what stays in its place (both negative); None when it cannot be.
    """
    table = TABLES[kind][3]
    want = Counter(dict(wanted))
    there = Counter(name for _, name in held)
    names = tuple(name for name in table if want[name] or there[name])
    best: tuple[int, int, int] | None = None
    for key, same in _by_multiset(kind, names).items():
        over = Counter(dict(key))
        over.subtract(want)
        if any(count < 0 or count > there[name] for name, count in over.items()):
            continue
        for end in same:
            both = Counter(name for _, name in end & held)
            if all(both[name] >= count for name, count in over.items()):
                found = (len(held) - over.total(), -room(kind, end, tuple(table)), -both.total())
                if best is None or found < best:
                    best = found
    return best
