"""Devices that are alike, and the states that one of them may end in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ai_how.gpu.ask import WHOLE, Ask, content, good, profiles_of, widespread
from ai_how.gpu.geometry import State, free_starts, largest, rank, states
from ai_how.gpu.model import Demand, Device, Kind, Profile

#: The start of the slot that stands for the whole of a device.
ALL = -1


@dataclass(frozen=True)
class Slot:
    """A place on a device that matters by itself: a slice is there already, or a demand is pinned to it.

    ``asks`` are those that would keep what is there, ``pinned`` those that must have this very start. ``consumer`` is
    whose work ``running`` there is, where it must be told apart.
    """

    start: int
    profile: str
    asks: tuple[int, ...] = ()
    pinned: tuple[int, ...] = ()
    held: bool = False
    running: bool = False
    consumer: str | None = None


@dataclass(frozen=True)
class Pattern:
    """A state that a device may end in. ``counts`` are its slices by profile (or ``whole``), ``slots`` the numbers of
    the slots that are part of it, ``value`` how large a slice could still be placed beside it."""

    state: State
    counts: Mapping[str, int]
    slots: frozenset[int]
    value: int


@dataclass(frozen=True)
class Group:
    """Devices that nothing tells apart, in the order of their ids; ``goods`` is what each ask takes of them."""

    devices: tuple[Device, ...]
    slots: tuple[Slot, ...]
    goods: Mapping[int, str]
    patterns: tuple[Pattern, ...]


def worth(profile: Profile | None) -> int:
    """The rank of a profile as one number; memory counts before compute."""
    return 0 if profile is None else rank(profile)[0] * 16 + rank(profile)[1]


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that puts GPU-2 before GPU-10."""
    parts: list[tuple[int, int, str]] = []
    number = ""
    for letter in [*text, ""]:
        if letter.isdecimal():
            number += letter
            continue
        if number:
            parts.append((0, int(number), ""))
            number = ""
        parts.append((1, 0, letter))
    return tuple(parts)


def slots_of(
    device: Device, asks: Sequence[Ask], consumers: Sequence[frozenset[str]], apart: frozenset[str]
) -> tuple[Slot, ...]:
    """The places on a device that matter by themselves; ``consumers`` are those of each ask."""
    slots: dict[tuple[int, str], Slot] = {}
    there = [(held.slice.start, held.slice.profile, held.consumer, held.running) for held in device.held]
    if device.whole_for is not None:
        there.append((ALL, WHOLE, device.whole_for, device.whole_running))
    for start, profile, consumer, running in there:
        keepers = tuple(
            ask.number
            for ask in asks
            if consumer in consumers[ask.number] and content(ask.first, device, start, profile)
        )
        running = running and consumer is not None
        named = consumer if running and consumer in apart else None
        slots[start, profile] = Slot(start, profile, keepers, (), True, running, named)
    for ask in asks:
        wanted = good(ask.first, device)
        if ask.first.start is not None and wanted is not None:
            place = (ask.first.start, wanted)
            slot = slots.get(place) or Slot(*place)
            slots[place] = _pin(slot, ask.number)
    taken = {good(ask.first, device) for ask in asks}
    return tuple(
        slot for _, slot in sorted(slots.items()) if slot.running or slot.profile in taken or slot.asks
    )


def _pin(slot: Slot, number: int) -> Slot:
    return Slot(
        slot.start, slot.profile, slot.asks, (*slot.pinned, number), slot.held, slot.running, slot.consumer
    )


@dataclass(frozen=True)
class Measured:
    """A state, what it holds by profile, its places, and how large a slice could still be placed beside it."""

    state: State
    counts: Mapping[str, int]
    held: frozenset[tuple[str, int]]
    places: frozenset[tuple[int, str]]
    value: int


@lru_cache(maxsize=512)
def measured(kind: Kind, allowed: tuple[Profile, ...], relevant: tuple[Profile, ...]) -> tuple[Measured, ...]:
    """Every state of these profiles, those that leave most room first."""
    found = []
    for state in states(kind, relevant):
        room = tuple(-len(free_starts(kind, state, profile)) for profile in reversed(allowed))
        value = max((worth(p) for p, free in zip(reversed(allowed), room, strict=True) if free), default=0)
        order = (-value, room, tuple((-start, profile.name) for start, profile in state))
        counts = dict(Counter(profile.name for _, profile in state))
        places = frozenset((start, profile.name) for start, profile in state)
        found.append((order, Measured(state, counts, frozenset(counts.items()), places, value)))
    found.sort(key=lambda row: row[0])
    return tuple(row for _, row in found)


def patterns(
    device: Device,
    relevant: tuple[Profile, ...],
    slots: Sequence[Slot],
    caps: Mapping[str, int],
    must: frozenset[tuple[int, str]],
) -> Iterator[Pattern]:
    """The states of a device that differ in what they hold, each in the arrangement that leaves most room.

    ``caps`` are the most slices of each profile that anybody could take; ``must`` are places that are not given up.
    """
    seen = set()
    for end in measured(device.kind, profiles_of(device), relevant):
        if not must <= end.places or any(count > caps[name] for name, count in end.held):
            continue
        there = frozenset(n for n, slot in enumerate(slots) if (slot.start, slot.profile) in end.places)
        if (end.held, there) not in seen:
            seen.add((end.held, there))
            value = end.value if end.state else empty_worth(device)
            yield Pattern(end.state, end.counts, there, value)
    if caps[WHOLE]:
        there = frozenset(n for n, slot in enumerate(slots) if slot.profile == WHOLE)
        if must <= {(slots[n].start, WHOLE) for n in there}:
            yield Pattern((), {WHOLE: 1}, there, 0)


def groups(
    devices: Sequence[Device], demands: Sequence[Demand], asks: Sequence[Ask], *, apart: bool
) -> tuple[Group, ...]:
    """The devices in groups of alike ones."""
    pinned = {demand.device for demand in demands if demand.device is not None}
    single = any(ask.spread for ask in asks)
    consumers = [frozenset(demands[member].consumer for member in ask.members) for ask in asks]
    wide = widespread(devices) if apart else frozenset()
    found: dict[tuple[object, ...], list[Device]] = {}
    slots: dict[tuple[object, ...], tuple[Slot, ...]] = {}
    for device in sorted(devices, key=lambda device: natural(device.id)):
        mine = slots_of(device, asks, consumers, wide)
        own = device.id in pinned or (single and bool(mine))
        key = (device.kind.key, id(device.kind), device.allowed, device.mig, mine, device.id if own else None)
        found.setdefault(key, []).append(device)
        slots[key] = mine
    return tuple(_group(tuple(alike), slots[key], asks, quiet=not apart) for key, alike in found.items())


def _group(alike: tuple[Device, ...], slots: tuple[Slot, ...], asks: Sequence[Ask], *, quiet: bool) -> Group:
    device = alike[0]
    goods = {ask.number: wanted for ask in asks if (wanted := good(ask.first, device)) is not None}
    caps: Counter[str] = Counter()
    for number, wanted in goods.items():
        caps[wanted] += asks[number].units
    for slot in slots:
        if slot.held:
            caps[slot.profile] += 1
    allowed = profiles_of(device)
    relevant = tuple(profile for profile in device.kind.profiles if caps[profile.name])
    must = frozenset((slot.start, slot.profile) for slot in slots if quiet and slot.running)
    kept = tuple(
        pattern
        for pattern in patterns(device, relevant, slots, caps, must)
        if _only_held(pattern, slots, allowed)
    )
    return Group(alike, slots, goods, kept)


def _only_held(pattern: Pattern, slots: Sequence[Slot], allowed: Sequence[Profile]) -> bool:
    """Whether profiles that are not allowed stand only where they stand already."""
    names = {profile.name for profile in allowed} | {WHOLE}
    there = {(slots[number].start, slots[number].profile) for number in pattern.slots}
    return all(profile.name in names or (start, profile.name) in there for start, profile in pattern.state)


def empty_worth(device: Device) -> int:
    """The value of a device with nothing on it: its largest profile, or, where it has none, all of its memory."""
    allowed = profiles_of(device)
    if not allowed:
        return device.kind.memory_gb * 16
    return worth(largest(device.kind, (), allowed))
