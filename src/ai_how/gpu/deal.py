"""From how many to who and where: the solution's counts become grants, in an order that is always the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ai_how.gpu.ask import WHOLE, Ask, content, good, profiles_of
from ai_how.gpu.geometry import largest
from ai_how.gpu.model import Demand, Device, Grant, Placement, Slice
from ai_how.gpu.pattern import ALL, Group, Pattern, Slot, natural
from ai_how.gpu.solve import Solution


@dataclass(eq=False)
class Place:
    """One slice (or the whole) of one device in the final state, and the ask that takes it.

    ``slot`` is its number among the group's slots, ``keeper`` the consumer that keeps what it has there; ``left`` tells
    that nobody asks for it and work runs there.
    """

    device: Device
    start: int
    profile: str
    slot: int | None = None
    ask: int | None = None
    keeper: str | None = None
    left: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        return (natural(self.device.id), self.start, self.profile)

    @property
    def slice(self) -> Slice | None:
        """None for the whole of the device."""
        return None if self.profile == WHOLE else Slice(self.device.id, self.start, self.profile)


def placement(
    groups: Sequence[Group], asks: Sequence[Ask], demands: Sequence[Demand], solution: Solution
) -> Placement:
    """The solution as grants, in the order of the demands."""
    places: list[Place] = []
    remains: dict[str, str | None] = {}
    for number, group in enumerate(groups):
        places += _deal(number, group, solution, remains)
    of_demand: dict[int, list[Place]] = defaultdict(list)
    for ask in asks:
        _hand_out(ask, [place for place in places if place.ask == ask.number], demands, of_demand)
    _settle(demands, of_demand)
    grants = [
        _grant(demands[number], index, place)
        for number in range(len(demands))
        for index, place in enumerate(sorted(of_demand[number], key=lambda place: place.key))
    ]
    left = sorted(place.slice for place in places if place.left and place.slice is not None)
    ids = sorted(remains, key=natural)
    return Placement(
        tuple(grants), _disturbed(groups, places), {name: remains[name] for name in ids}, tuple(left)
    )


def _disturbed(groups: Sequence[Group], places: Sequence[Place]) -> tuple[str, ...]:
    """The consumers that lose a slice, or a whole device, on which their work runs."""
    stays = {(place.device.id, place.start, place.profile) for place in places if place.keeper or place.left}
    lost: set[str] = set()
    for group in groups:
        for device in group.devices:
            running = [(h.slice.start, h.slice.profile, h.consumer) for h in device.held if h.running]
            if device.whole_running:
                running.append((ALL, WHOLE, device.whole_for))
            lost |= {who for start, name, who in running if who and (device.id, start, name) not in stays}
    return tuple(sorted(lost))


def _deal(number: int, group: Group, solution: Solution, remains: dict[str, str | None]) -> list[Place]:
    """The places of one group's devices, each with the ask that takes it."""
    ends = [
        index for index in range(len(group.patterns)) for _ in range(solution.used.get((number, index), 0))
    ]
    ends.sort(key=lambda index: (not group.patterns[index].counts, group.patterns[index].value, index))
    by_pattern: dict[int, list[list[Place]]] = defaultdict(list)
    for device, index in zip(group.devices, ends, strict=True):
        pattern = group.patterns[index]
        remains[device.id] = _remains(device, pattern)
        by_pattern[index].append(list(_places(device, pattern, group.slots)))
    places = [place for alike in by_pattern.values() for mine in alike for place in mine]
    places.sort(key=lambda place: place.key)
    for index in range(len(group.slots)):
        _slot(number, group, index, [place for place in places if place.slot == index], solution)
    rest = dict(solution.taken)
    for (own, index, ask), count in solution.by_pattern.items():
        if own == number:
            rest[number, ask] -= count
            _around(by_pattern[index], group.goods[ask], ask, count)
    free: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        if place.ask is None and not place.left:
            free[place.profile].append(place)
    for ask, name in group.goods.items():
        count = rest.get((number, ask), 0)
        for place in free[name][:count]:
            place.ask = ask
        del free[name][:count]
    return places


def _remains(device: Device, pattern: Pattern) -> str | None:
    if WHOLE in pattern.counts:
        return None
    allowed = profiles_of(device)
    if not allowed and not pattern.counts:
        return WHOLE
    found = largest(device.kind, pattern.state, allowed)
    return found.name if found else None


def _places(device: Device, pattern: Pattern, slots: Sequence[Slot]) -> Iterator[Place]:
    numbers = {(slots[number].start, slots[number].profile): number for number in pattern.slots}
    if WHOLE in pattern.counts:
        yield Place(device, ALL, WHOLE, numbers.get((ALL, WHOLE)))
    for start, profile in pattern.state:
        yield Place(device, start, profile.name, numbers.get((start, profile.name)))


def _slot(number: int, group: Group, index: int, places: Sequence[Place], solution: Solution) -> None:
    """Those that keep what they have there, what is left running, those that are pinned to it."""
    slot = group.slots[index]
    turn = iter(places)
    for ask in slot.asks:
        for _ in range(solution.slot.get((number, index, ask), 0)):
            place = next(turn)
            place.ask, place.keeper = ask, holder(place)
    for _ in range(solution.left.get((number, index), 0)):
        next(turn).left = True
    for ask in slot.pinned:
        if ask not in slot.asks:
            for _ in range(solution.slot.get((number, index, ask), 0)):
                next(turn).ask = ask


def holder(place: Place) -> str | None:
    """Who has that very slice (or the whole device) already."""
    if place.profile == WHOLE:
        return place.device.whole_for
    return next((held.consumer for held in place.device.held if held.slice == place.slice), None)


def _around(devices: Sequence[Sequence[Place]], name: str, ask: int, count: int) -> None:
    """``count`` slices for a spread ask from devices of one pattern, from one device after another."""
    while count:
        for places in devices:
            found = next((p for p in places if p.ask is None and not p.left and p.profile == name), None)
            if found is not None and count:
                found.ask = ask
                count -= 1


def _hand_out(
    ask: Ask, places: list[Place], demands: Sequence[Demand], of_demand: dict[int, list[Place]]
) -> None:
    """An ask's places to its demands: what is kept to its keeper, the rest in order; spread ones take turns."""
    room = {member: demands[member].count for member in ask.members}
    rest = []
    for place in sorted(places, key=lambda place: place.key):
        own = _own(ask, place.keeper, demands, room) if place.keeper is not None else None
        if own is not None:
            of_demand[own].append(place)
            room[own] -= 1
        else:
            rest.append(place)
    turns: Iterator[int]
    if ask.spread:
        turns = (member for turn in range(max(room.values())) for member in room if turn < room[member])
    else:
        turns = (member for member, count in room.items() for _ in range(count))
    for place, member in zip(rest, turns, strict=False):
        of_demand[member].append(place)


def _own(ask: Ask, keeper: str, demands: Sequence[Demand], room: Mapping[int, int]) -> int | None:
    return next(
        (member for member in ask.members if room[member] and demands[member].consumer == keeper), None
    )


def _settle(demands: Sequence[Demand], of_demand: dict[int, list[Place]]) -> None:
    """Which of a consumer's demands has which of its places, always in the same way.

    What is there already is known by its consumer only, so that the choice must follow from the places alone.
    """
    mine: dict[str, list[int]] = defaultdict(list)
    for number, demand in enumerate(demands):
        if demand.spreading == "packed" or demand.count == 1:
            mine[demand.consumer].append(number)
    for numbers in mine.values():
        if len(numbers) > 1:
            places = sorted((p for number in numbers for p in of_demand[number]), key=lambda place: place.key)
            units = [number for number in numbers for _ in of_demand[number]]
            match = _match([demands[number] for number in units], places)
            for number in numbers:
                of_demand[number] = []
            for unit, place in match.items():
                of_demand[units[unit]].append(places[place])


def _match(units: Sequence[Demand], places: Sequence[Place]) -> Mapping[int, int]:
    """A place for every unit, by augmenting paths; each unit tries the places in their order."""
    taker: dict[int, int] = {}
    fits = {
        unit: [
            number
            for number, place in enumerate(places)
            if good(unit, place.device) == place.profile
            and unit.start in (None, place.start)
            or place.profile != WHOLE
            and content(unit, place.device, place.start, place.profile)
        ]
        for unit in set(units)
    }

    def take(unit: int, tried: set[int]) -> bool:
        for place in fits[units[unit]]:
            if place not in tried:
                tried.add(place)
                if place not in taker or take(taker[place], tried):
                    taker[place] = unit
                    return True
        return False

    for unit in range(len(units)):
        take(unit, set())
    return {unit: place for place, unit in taker.items()}


def _grant(demand: Demand, index: int, place: Place) -> Grant:
    there = place.profile == WHOLE and place.device.whole_for == demand.consumer
    kept = there or any(held.slice == place.slice for held in place.device.held)
    return Grant(demand.name, index, demand.consumer, place.device.id, place.slice, kept)
