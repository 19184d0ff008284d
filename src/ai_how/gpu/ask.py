"""What a demand means on a device, and which demands are alike: the planner counts alike ones together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ai_how.gpu.geometry import rank
from ai_how.gpu.model import Demand, Device, Profile

#: The name under which the whole of a device is counted beside its profiles.
WHOLE = "whole"


@dataclass(frozen=True)
class Ask:
    """Demands that are alike: ``members`` are their places in the list, ``units`` what they ask for together.

    ``first`` stands for all of them. ``consumer`` is theirs where it matters, because it holds slices already.
    """

    number: int
    first: Demand
    members: tuple[int, ...]
    units: int
    consumer: str | None = None

    @property
    def spread(self) -> bool:
        """Whether its units want different devices."""
        return self.first.spreading == "spread" and self.first.count > 1


def profiles_of(device: Device) -> tuple[Profile, ...]:
    """The profiles that may be placed on a device."""
    if not device.mig:
        return ()
    if device.allowed is None:
        return device.kind.profiles
    return tuple(profile for profile in device.kind.profiles if profile.name in device.allowed)


def sufficient(profile: Profile, least: tuple[int, int]) -> bool:
    """Whether a profile holds at least so many GB and compute slices."""
    return profile.memory_gb >= least[0] and profile.compute >= least[1]


def smallest(profiles: Iterable[Profile], least: tuple[int, int]) -> Profile | None:
    """The smallest profile that suffices; one with a suffix (media, graphics) only when there is no other."""
    found = [profile for profile in profiles if sufficient(profile, least)]
    plain = [profile for profile in found if profile.name.endswith("gb")]
    return min(plain or found, key=lambda p: (p.size, p.compute, rank(p), p.name), default=None)


def good(demand: Demand, device: Device) -> str | None:
    """What a demand takes on a device: a profile's name, ``whole``, or None when this device is not for it."""
    if demand.device is not None and demand.device != device.id:
        return None
    if demand.kind is not None and demand.kind not in (device.kind.key, device.kind.short):
        return None
    if demand.whole:
        return WHOLE
    if demand.at_least is not None:
        found = smallest(profiles_of(device), demand.at_least)
    else:
        found = next((p for p in profiles_of(device) if p.name == demand.profile), None)
    if found is None or (demand.start is not None and demand.start not in found.starts):
        return None
    return found.name


def content(demand: Demand, device: Device, start: int, name: str) -> bool:
    """Whether a slice that is there already would do for a demand: what is asked, or more where that is allowed."""
    wanted = good(demand, device)
    if wanted is None or (demand.start is not None and demand.start != start):
        return False
    if wanted == name:
        return True
    profile = next((p for p in profiles_of(device) if p.name == name), None)
    return demand.at_least is not None and profile is not None and sufficient(profile, demand.at_least)


def holdings(devices: Iterable[Device]) -> dict[str, list[tuple[Device, int, str, bool]]]:
    """What each consumer has already: device, start (-1 for the whole), profile, and whether work runs there."""
    found: dict[str, list[tuple[Device, int, str, bool]]] = defaultdict(list)
    for device in devices:
        for held in device.held:
            if held.consumer is not None:
                found[held.consumer].append((device, held.slice.start, held.slice.profile, held.running))
        if device.whole_for is not None:
            found[device.whole_for].append((device, -1, WHOLE, device.whole_running))
    return found


def widespread(devices: Iterable[Device]) -> frozenset[str]:
    """The consumers whose work runs in more than one place: they are disturbed once, however many they lose."""
    running = Counter(consumer for consumer, held in holdings(devices).items() for *_, runs in held if runs)
    return frozenset(consumer for consumer, count in running.items() if count > 1)


def gather(devices: Sequence[Device], demands: Sequence[Demand], *, apart: bool) -> tuple[Ask, ...]:
    """The demands in groups of alike ones, in the order in which each kind first comes.

    Consumers are forgotten where that changes nothing: when they hold nothing, or nothing but what their one demand
    takes. With ``apart``, consumers whose work runs in several places are kept apart: each counts once as disturbed.
    """
    held = holdings(devices)
    wide = widespread(devices) if apart else frozenset()
    of_consumer = Counter(demand.consumer for demand in demands)
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, demand in enumerate(demands):
        mine = held.get(demand.consumer, [])
        alone = bool(mine) and (
            of_consumer[demand.consumer] > 1
            or demand.start is not None
            or (demand.spreading == "spread" and demand.count > 1)
            or demand.consumer in wide
            or sum(content(demand, device, start, name) for device, start, name, _ in mine) > demand.count
        )
        spread = demand.spreading == "spread" and demand.count > 1
        key = (
            *(demand.profile, demand.at_least, demand.whole, demand.kind, demand.device, demand.start),
            demand.consumer if alone else None,
            demand.count if spread else 0,
            place if alone and spread else None,
        )
        groups.setdefault(key, []).append(place)
    return tuple(
        Ask(
            number,
            demands[members[0]],
            tuple(members),
            sum(demands[member].count for member in members),
            str(key[6]) if key[6] is not None else None,
        )
        for number, (key, members) in enumerate(groups.items())
    )
