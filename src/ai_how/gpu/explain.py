"""Answers about a placement: does this fit, what is the largest slice left, what if I drop that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ai_how.errors import NotFound
from ai_how.gpu.ask import profiles_of
from ai_how.gpu.geometry import rank
from ai_how.gpu.model import Conflict, Demand, Device, Placement
from ai_how.gpu.plan import fits, place
from ai_how.gpu.words import asked, listed

#: The name of a demand that is only asked about.
_TRIED = "what is asked about"
#: How many more slices of one profile are tried for at most.
_MOST = 64


@dataclass(frozen=True)
class Answer:
    """In words, and as facts for ``--json``."""

    lines: tuple[str, ...]
    facts: dict[str, object]


def answer(devices: Sequence[Device], demands: Sequence[Demand], what: str | None) -> Answer:
    """About all ``demands``, about the one that ``what`` names, or about one more slice of the profile that it names.

    Raises :class:`NotFound` for what is neither a demand nor a profile that may be made on a device.
    """
    if what is None:
        return _all(devices, demands)
    if any(demand.name == what for demand in demands):
        return _demand(devices, demands, what)
    if any(row.name == what for device in devices for row in profiles_of(device)):
        return _profile(devices, demands, what)
    known = [*(demand.name for demand in demands), *_profiles(devices)]
    raise NotFound(
        f"there is no demand and no allowed profile '{what}'", todo=f"There is {listed(known, 'or')}."
    )


def _all(devices: Sequence[Device], demands: Sequence[Demand]) -> Answer:
    outcome = place(devices, demands)
    if isinstance(outcome, Conflict):
        without = [name for name in outcome.demands if fits(devices, _without(demands, name))]
        nearest = listed([f"{count} of {name}" for name, count in outcome.nearest.items()])
        lines = [f"It does not fit: {outcome.why}.", f"The nearest that fits: {nearest or 'nothing'}."]
        lines += [f"Without {name} all the rest fits." for name in without]
        facts = {"fits": False, "why": outcome.why, "demands": list(outcome.demands)}
        return Answer(tuple(lines), facts | {"nearest": dict(outcome.nearest), "drop": without})
    dropped = {demand.name: _left(devices, _without(demands, demand.name)) for demand in demands}
    largest = _largest(outcome, devices)
    lines = [f"All of it fits; {_said(largest)}."]
    lines += [
        f"{device}: {rest or 'nothing'} can still be placed" for device, rest in outcome.remains.items()
    ]
    lines += [
        f"Without {name} {_said(rest)}."
        for name, rest in dropped.items()
        if rest is not None and rest != largest
    ]
    facts = {"fits": True, "largest": largest, "remains": dict(outcome.remains), "without": dropped}
    return Answer(tuple(lines), facts)


def _demand(devices: Sequence[Device], demands: Sequence[Demand], name: str) -> Answer:
    demand = next(one for one in demands if one.name == name)
    outcome = place(devices, demands)
    rest = _without(demands, name)
    if isinstance(outcome, Conflict):
        guilty = name in outcome.demands
        alone = fits(devices, [demand])
        lines = [f"{asked(demand)} does not fit with the others: {outcome.why}." if guilty
                 else f"The file does not fit, and not because of {asked(demand)}: {outcome.why}."]  # fmt: skip
        lines.append(f"Alone it {'fits' if alone else 'does not fit either'}.")
        lines.append(f"Without it the rest {'fits' if fits(devices, rest) else 'does not fit either'}.")
        return Answer(tuple(lines), {"demand": name, "fits": False, "why": outcome.why, "alone": alone})
    places = [
        f"{grant.slice.profile} at {grant.slice.start} on {grant.device}" if grant.slice else grant.device
        for grant in outcome.grants
        if grant.demand == name
    ]
    left = _left(devices, rest)
    lines = [
        f"{asked(demand)} has {listed(places)}.",
        f"Without it {_said(left)}.",
    ]
    return Answer(tuple(lines), {"demand": name, "fits": True, "places": places, "without": left})


def _profile(devices: Sequence[Device], demands: Sequence[Demand], profile: str) -> Answer:
    if not fits(devices, demands):
        return _all(devices, demands)
    more = next(
        n for n in range(_MOST + 1) if n == _MOST or not fits(devices, [*demands, _tried(profile, n + 1)])
    )
    if more:
        outcome = place(devices, [*demands, _tried(profile, 1)])
        assert isinstance(outcome, Placement)
        one = next(grant for grant in outcome.grants if grant.demand == _TRIED)
        start = one.slice.start if one.slice else 0
        lines = [f"{more} more of {profile} fit{'s' if more == 1 else ''} beside all that the file asks for.",
                 f"The first would be on {one.device} at memory slice {start}."]  # fmt: skip
        return Answer(tuple(lines), {"profile": profile, "more": more, "device": one.device, "start": start})
    enough = [
        demand.name
        for demand in demands
        if fits(devices, [*_without(demands, demand.name), _tried(profile, 1)])
    ]
    fewer = [
        name
        for name in enough
        if (less := _one_less(demands, name)) and fits(devices, [*less, _tried(profile, 1)])
    ]
    lines = [f"No {profile} fits beside all that the file asks for."]
    lines += [f"It would with one less of {name}." for name in fewer]
    lines += [f"It would without {name}." for name in enough if name not in fewer]
    if not enough:
        lines.append("Dropping any single demand makes no room for it either.")
    return Answer(tuple(lines), {"profile": profile, "more": 0, "one_less": fewer, "drop": enough})


def _said(largest: str | None) -> str:
    return f"the largest slice left is {largest}" if largest else "no slice is left"


def _tried(profile: str, count: int) -> Demand:
    return Demand(_TRIED, _TRIED, count, profile=profile)


def _without(demands: Sequence[Demand], name: str) -> list[Demand]:
    return [demand for demand in demands if demand.name != name]


def _one_less(demands: Sequence[Demand], name: str) -> list[Demand] | None:
    """The demands with one unit less of one; None when it has only one."""
    if any(demand.name == name and demand.count < 2 for demand in demands):
        return None
    return [replace(one, count=one.count - 1) if one.name == name else one for one in demands]


def _left(devices: Sequence[Device], demands: Sequence[Demand]) -> str | None:
    outcome = place(devices, demands)
    return None if isinstance(outcome, Conflict) else _largest(outcome, devices)


def _largest(placement: Placement, devices: Sequence[Device]) -> str | None:
    """The largest profile that can still be placed on any device."""
    kinds = {device.id: device.kind for device in devices}
    rows = [row for name, rest in placement.remains.items() if rest and (row := kinds[name].profile(rest))]
    return max(rows, key=rank).name if rows else None


def _profiles(devices: Sequence[Device]) -> Iterator[str]:
    yield from dict.fromkeys(row.name for device in devices for row in profiles_of(device))
