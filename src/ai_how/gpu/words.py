"""Why demands cannot stand together, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ai_how.gpu.ask import WHOLE, good, profiles_of
from ai_how.gpu.catalogue import profile_by_slices
from ai_how.gpu.geometry import rank
from ai_how.gpu.model import Demand, Device, Profile


def why(devices: Sequence[Device], demands: Sequence[Demand], fitting: int) -> str:
    """Why these demands, the fewest that conflict, cannot be met on ``devices``; ``fitting`` units of them could be."""
    alike = {
        (demand.profile, demand.at_least, demand.whole, demand.kind, demand.device, demand.start): demand
        for demand in reversed(demands)
    }
    nowhere = [demand for demand in demands if demand in alike.values() and not _takers(devices, demand)]
    if nowhere:
        return _nowhere(devices, nowhere[0])
    takers = [device for device in devices if any(good(demand, device) for demand in alike.values())]
    if len(takers) == 1:
        return _on_one(takers[0], demands, only=len(devices) > 1)
    return _on_many(takers, demands, fitting)


def _takers(devices: Iterable[Device], demand: Demand) -> list[Device]:
    return [device for device in devices if good(demand, device) is not None]


def listed(words: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def some(words: Sequence[str], most: int = 4) -> str:
    """``a, b, c, d and 12 more``."""
    if len(words) <= most + 1:
        return listed(words)
    return f"{', '.join(words[:most])} and {len(words) - most} more"


def asked(demand: Demand, name: str | None = None) -> str:
    """A demand as a person would say it: its name, how many, and of what."""
    if demand.whole:
        what = "whole devices" if demand.count > 1 else "a whole device"
    elif demand.at_least is not None:
        memory, compute = demand.at_least
        what = f"at least {memory} GB and {compute} compute slice{'s' * (compute > 1)}"
        what = "the smallest slice" if demand.at_least == (1, 1) else what
        what = f"{what}, here {name}" if name else what
    else:
        what = str(demand.profile)
    many = f"{demand.count} of " if demand.count > 1 and not demand.whole else ""
    many = f"{demand.count} " if demand.count > 1 and demand.whole else many
    at = f" at memory slice {demand.start}" if demand.start is not None else ""
    return f"{demand.name} ({many}{what}{at})"


# --- no device at all -------------------------------------------------------------------------------------------------


def _nowhere(devices: Sequence[Device], demand: Demand) -> str:
    """Why no device can take even one unit."""
    said = asked(demand)
    if not devices:
        return f"{said}: there are no devices"
    left = [device for device in devices if demand.device in (None, device.id)]
    if not left:
        return f"{said} is pinned to {demand.device}, which is not among {some([d.id for d in devices])}"
    left = [device for device in left if demand.kind in (None, device.kind.key, device.kind.short)]
    if not left:
        there = sorted({device.kind.key for device in devices})
        return f"{said} wants a device of kind {demand.kind}; there is {listed(there)}"
    can = [device for device in left if device.mig and device.kind.profiles]
    if not can:
        return f"{said} needs a device that may be partitioned; {some([d.id for d in left])} may not be"
    if demand.at_least is not None and demand.start is None:
        top = max((p for d in can for p in profiles_of(d)), key=rank, default=None)
        largest = f"; the largest is {top.name}" if top else ""
        return f"{said}: no allowed profile of {some([d.id for d in can])} holds that much{largest}"
    return f"{said}: {_misnamed(can, demand)}"


def _misnamed(devices: Sequence[Device], demand: Demand) -> str:
    """Why devices that may be partitioned have no slice of that profile, or not from that start."""
    device = devices[0]
    profile = device.kind.profile(demand.profile or "")
    if profile is None:
        here = profile_by_slices(device.kind, demand.profile or "")
        called = f"; by slice count it is {here.name} there" if here else ""
        return f"{device.id} ({device.kind.key}) has no profile {demand.profile}{called}"
    if profile not in profiles_of(device):
        allowed = listed(device.allowed or (), "or")
        return f"{device.id} has {profile.name}, but only {allowed or 'nothing'} is allowed on it"
    starts = listed([str(start) for start in profile.starts], "or")
    return f"{profile.name} can start at {starts} only"


# --- one device -------------------------------------------------------------------------------------------------------


def _on_one(device: Device, demands: Sequence[Demand], *, only: bool) -> str:
    """Why one device, the only one for them, cannot take them all."""
    names = {demand.name: good(demand, device) or "" for demand in demands}
    said = listed([asked(demand, names[demand.name]) for demand in demands])
    place = f"{device.id}, the only device for {'them' if len(demands) > 1 else 'it'}" if only else device.id
    wholes = [demand for demand in demands if demand.whole]
    if wholes:
        if len(demands) == 1:
            return f"{said}: only {device.id} can be taken"
        return f"{said} cannot share {place}: a device that is given as a whole has no slices for others"
    units = [profile for demand in demands for profile in _units(device, demand, names[demand.name])]
    reason = next(_limits(device, units), None) or _collision(demands, units, names)
    if len(units) == 1:
        return f"{said}: {reason}"
    return f"{said} {'do not fit together' if len(demands) > 1 else 'does not fit'} on {place}: {reason}"


def _units(device: Device, demand: Demand, name: str) -> Iterator[Profile]:
    profile = device.kind.profile(name)
    if profile is not None and name != WHOLE:
        yield from [profile] * demand.count


def _limits(device: Device, units: Sequence[Profile]) -> Iterator[str]:
    """The sums that are too large."""
    kind = device.kind
    for profile, count in Counter(units).items():
        if count > profile.maximum:
            yield f"{count} of {profile.name} are asked for, and a device holds at most {profile.maximum}"
    compute = sum(profile.compute for profile in units)
    if compute > kind.compute_slices:
        yield f"they take {compute} compute slices, and it has {kind.compute_slices}"
    memory = sum(profile.size for profile in units)
    if memory > kind.memory_slices:
        yield f"they take {memory} memory slices, and it has {kind.memory_slices}"
    if sum(profile.media for profile in units) > 1:
        yield "each takes the media engines, of which a device has one set"
    if kind.engines and sum(profile.engines for profile in units) > kind.engines:
        yield f"they take more decoders than its {kind.engines}"


def _collision(demands: Sequence[Demand], units: Sequence[Profile], names: dict[str, str]) -> str:
    """The sums would do, and the places do not: memory slices that all need."""
    pinned = {demand.start for demand in demands if demand.start is not None}
    needed = [_must(profile, None) for profile in units]
    if len(demands) == len(units):
        needed = [_must(unit, demand.start) for unit, demand in zip(units, demands, strict=True)]
    shared = set.intersection(*needed) if needed else set()
    if shared:
        first, last = min(shared), max(shared)
        slices = f"memory slices {first}-{last}" if last > first else f"memory slice {first}"
        return f"{'both need' if len(units) == 2 else 'all need'} {slices}"
    starts = [
        f"{profile.name} starts at {listed([str(start) for start in profile.starts], 'or')}"
        for profile in dict.fromkeys(units)
    ]
    told = f", and {listed([str(start) for start in sorted(pinned)])} pinned" if pinned else ""
    return f"no choice of starts avoids an overlap ({'; '.join(starts)}{told})"


def _must(profile: Profile, start: int | None) -> set[int]:
    """The memory slices that a profile takes wherever it starts."""
    starts = profile.starts if start is None else (start,)
    return set.intersection(*(set(range(begin, begin + profile.size)) for begin in starts))


# --- several devices --------------------------------------------------------------------------------------------------


def _on_many(devices: Sequence[Device], demands: Sequence[Demand], fitting: int) -> str:
    said = some([asked(demand) for demand in demands])
    ids = some([device.id for device in devices])
    units = sum(demand.count for demand in demands)
    if all(demand.whole for demand in demands):
        return f"{said}: {units} whole devices are asked for, and there are {len(devices)} ({ids})"
    verb = "asks" if len(demands) == 1 else "ask"
    what = "slices" if not any(demand.whole for demand in demands) else "slices and whole devices"
    together = " together" if len(demands) > 1 else ""
    return f"{said} {verb} for {units} {what}{together}; at most {fitting} of them fit on {ids}"
