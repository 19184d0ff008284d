"""What the catalogue and the planner have to say about a file: models, profiles, and demands that do not fit. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.gpu.ask import good
from ai_how.gpu.catalogue import kind_of, profile_by_slices, similar
from ai_how.gpu.demand import demands_of, devices_of
from ai_how.gpu.model import Conflict, Demand, Device, Kind
from ai_how.gpu.plan import place
from ai_how.gpu.words import listed, some
from ai_how.spec.check import Check, Found
from ai_how.spec.gpus import GpuDevice
from ai_how.spec.load import Path
from ai_how.spec.model import SiteSpec

_GPUS: Path = ("global", "gpu_allocation")


def check(spec: SiteSpec) -> Iterator[Found]:
    """Every mistake in what the file says about GPUs that one must know the cards to see."""
    for part in CHECKS:
        yield from part(spec)


def models(spec: SiteSpec) -> Iterator[Found]:
    """A device that is to be partitioned is of a kind that can be; any model can be given as a whole."""
    for path, device in _devices(spec):
        kind = kind_of(device.model)
        if not device.mig_capable or (kind is not None and kind.profiles):
            continue
        if kind is None:
            close = [f"`{name}`" for name in similar(device.model)]
            meant = f"Did you mean {listed(close, 'or')}? " if close else ""
            yield (
                (*path, "model"),
                f"the catalogue has no GPU '{device.model}', so that nobody knows its MIG profiles",
                f"{meant}Without `mig_capable` it is given as a whole, whatever it is.",
            )
        else:
            yield (
                (*path, "mig_capable"),
                f"'{device.id}' is said to be mig_capable, and a '{device.model}' cannot be partitioned",
                "Write `mig_capable: false`; it can be given as a whole.",
            )


def profiles(spec: SiteSpec) -> Iterator[Found]:
    """The profiles that a device allows are among those that its model has."""
    for path, device in _devices(spec):
        kind = kind_of(device.model)
        if kind is None or not kind.profiles:
            continue
        for place_, name in enumerate(device.allowed_mig_profiles or ()):
            if kind.profile(name) is None:
                message, todo = _misnamed(kind, device.model, name)
                yield (*path, "allowed_mig_profiles", place_), message, todo


def _misnamed(kind: Kind, model: str, name: str) -> tuple[str, str]:
    """What is wrong with a profile that this card does not have, and which one is meant."""
    right = profile_by_slices(kind, name)
    message = f"on a '{model}' ({kind.memory_gb} GB) the MIG profile {name} does not exist"
    plain = [profile.name for profile in kind.profiles if profile.name.endswith("gb")]
    has = f"It has {listed(plain)}"
    if right is None:
        return message, f"{has}."
    return f"{message}; by slice count it is {right.name}", f"Write `{right.name}`. {has}."


def demands(spec: SiteSpec) -> Iterator[Found]:
    """A profile that is asked for is had, and allowed, by some device."""
    allocation = spec.global_.gpu_allocation
    cards = [device for device in devices_of(spec) if device.mig and device.kind.profiles]
    if allocation is None or not cards:
        return
    for index, demand in enumerate(allocation.demands):
        name = demand.profile
        mine = [card for card in cards if demand.device in (None, card.id)]
        if name is None or not mine or any(_has(card, name) for card in mine):
            continue
        path = (*_GPUS, "demands", index, "profile")
        owners = [card for card in mine if card.kind.profile(name)]
        if owners:
            yield (
                path,
                f"no device allows {name}; {some([card.id for card in owners])} would have it",
                "Add it to `allowed_mig_profiles`, or ask for an allowed one.",
            )
        elif len({card.kind.key for card in mine}) == 1:
            yield (path, *_misnamed(mine[0].kind, mine[0].kind.products[0], name))
        else:
            known = dict.fromkeys(p.name for card in mine for p in card.kind.profiles)
            has = [profile for profile in known if profile.endswith("gb")]
            yield path, f"no device has the MIG profile {name}", f"There are {listed(has)}."


def _has(card: Device, name: str) -> bool:
    return good(Demand(name, name, profile=name), card) is not None


def fit(spec: SiteSpec) -> Iterator[Found]:
    """All that is asked for fits on the devices together. Silent while a model or a profile is wrong."""
    devices, asked = devices_of(spec), demands_of(spec)
    if not devices or not asked or any(True for part in (models, profiles, demands) for _ in part(spec)):
        return
    outcome = place(devices, asked)
    if not isinstance(outcome, Conflict):
        return
    fewer = [
        f"{outcome.nearest[demand.name]} of {demand.count} for {demand.name}"
        for demand in asked
        if outcome.nearest.get(demand.name, 0) < demand.count
    ]
    path = _path(spec, outcome.demands[-1])
    yield path, outcome.why, f"The nearest that fits has {some(fewer)}, and all the rest."


def _path(spec: SiteSpec, name: str) -> Path:
    """Where the file asks for what the planner calls ``name``."""
    allocation = spec.global_.gpu_allocation
    assert allocation is not None
    for index, demand in enumerate(allocation.demands):
        if demand.name == name:
            return (*_GPUS, "demands", index)
    return (*_GPUS, *name.split("."))


def _devices(spec: SiteSpec) -> Iterator[tuple[Path, GpuDevice]]:
    allocation = spec.global_.gpu_allocation
    for index, device in enumerate(allocation.devices if allocation else ()):
        yield (*_GPUS, "devices", index), device


_OF_DEVICE = tuple(
    f"global.gpu_allocation.devices.*.{key}" for key in ("model", "mig_capable", "allowed_mig_profiles")
)
#: For ``ai_how.spec.parse(also=...)``.
CHECKS = (
    Check(models, _OF_DEVICE[:2]),
    Check(profiles, _OF_DEVICE),
    Check(demands, (*_OF_DEVICE, "global.gpu_allocation.strategy", "global.gpu_allocation.demands")),
    Check(fit, ("global.gpu_allocation",)),
)
