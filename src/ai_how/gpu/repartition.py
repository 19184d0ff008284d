"""From what is on the devices to what was placed: who must be drained, what is destroyed, what is created, and why.

Nothing is destroyed that stays, and no start is left to the driver's choice. Every part of a legal state is legal, so
that the order among the new slices does not matter; they are created by their starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ai_how.gpu.model import Device, Grant, Held, Placement, Slice
from ai_how.gpu.words import listed

#: ``mig-on`` and ``mig-off`` switch a device's MIG mode, ``reset`` resets it, ``keep`` does nothing and says why.
Verb = Literal["drain", "destroy", "mig-off", "mig-on", "reset", "create", "keep"]


@dataclass(frozen=True)
class Act:
    """One act on a device. ``slice`` is None where the whole device is meant, ``consumer`` whom it concerns."""

    verb: Verb
    device: str
    why: str
    slice: Slice | None = None
    consumer: str | None = None

    @property
    def text(self) -> str:
        """Such as ``create 1g.10gb at 6 on GPU-0``."""
        place = f"{self.slice.profile} at {self.slice.start} on {self.device}" if self.slice else self.device
        match self.verb:
            case "drain":
                return f"drain {self.consumer} from {place}"
            case "mig-on" | "mig-off":
                return f"switch MIG {self.verb.removeprefix('mig-')} on {place}"
            case _:
                return f"{self.verb} {place}"


def repartition(devices: Sequence[Device], placement: Placement) -> tuple[Act, ...]:
    """The acts that bring ``devices`` to ``placement``: drains first, then device after device.

    Between a whole device and slices its MIG mode is switched, for which an Ampere GPU is reset. A device of which
    nobody gets anything is left as it is, except for slices that are no longer used.
    """
    drains: list[Act] = []
    acts: list[Act] = []
    for device in devices:
        grants = placement.on(device.id)
        left = [one for one in placement.left if one.device == device.id]
        drains += _drains(device, grants, left)
        acts += _acts(device, grants, left)
    return (*drains, *acts)


def _whole(grants: Sequence[Grant]) -> Grant | None:
    return next((grant for grant in grants if grant.slice is None), None)


def _drains(device: Device, grants: Sequence[Grant], left: Sequence[Slice]) -> Iterator[Act]:
    """Everybody whose work runs on what will be gone, or somebody else's."""
    kept = {(grant.slice, grant.consumer) for grant in grants}
    for held in device.held:
        if held.running and held.slice not in left and (held.slice, held.consumer) not in kept:
            yield Act("drain", device.id, _because(device, held, grants), held.slice, held.consumer)
    if device.whole_running and device.whole_for is not None and grants:
        whole = _whole(grants)
        if whole is None:
            why = f"the device is partitioned for {_takers(grants)}"
        elif whole.consumer != device.whole_for:
            why = f"the whole device is for {_takers([whole])}"
        else:
            return
        yield Act("drain", device.id, why, None, device.whole_for)


def _takers(grants: Sequence[Grant]) -> str:
    return listed(list(dict.fromkeys(f"{grant.demand} ({grant.consumer})" for grant in grants)))


def _because(device: Device, held: Held, grants: Sequence[Grant]) -> str:
    """What takes the place of a slice that goes."""
    if whole := _whole(grants):
        return f"the whole device is for {_takers([whole])}"
    same = [grant for grant in grants if grant.slice == held.slice]
    if same:
        return f"that slice is for {_takers(same)}"
    mine = _memory(device, held.slice)
    over = [grant for grant in grants if grant.slice and mine & _memory(device, grant.slice)]
    if over:
        slices = [f"{grant.slice.profile} at {grant.slice.start}" for grant in over if grant.slice]
        return f"its memory slices are needed by {listed(slices)}, for {_takers(over)}"
    new = [grant for grant in grants if not grant.kept]
    if new:
        return f"beside it there are not enough compute slices for {_takers(new)}"
    return "nobody asks for it"


def _memory(device: Device, one: Slice) -> set[int]:
    profile = device.kind.profile(one.profile)
    return set(range(one.start, one.start + (profile.size if profile else 1)))


def _acts(device: Device, grants: Sequence[Grant], left: Sequence[Slice]) -> Iterator[Act]:
    wanted = {grant.slice for grant in grants if grant.slice is not None}
    for held in sorted(device.held, key=lambda held: -held.slice.start):
        if held.slice not in wanted and held.slice not in left:
            yield Act("destroy", device.id, _gone(device, held, grants), held.slice, held.consumer)
    switch = list(_mode(device, grants))
    yield from switch
    for one in left:
        yield Act(
            "keep", device.id, "nobody asks for it, and work still runs on it", one, _holder(device, one)
        )
    for grant in grants:
        if grant.kept:
            yield Act("keep", device.id, _stays(device, grant), grant.slice, grant.consumer)
        elif grant.slice is not None:
            yield Act("create", device.id, f"for {_takers([grant])}", grant.slice, grant.consumer)
        elif not switch:
            yield Act(
                "keep", device.id, f"it is whole already, and for {_takers([grant])}", None, grant.consumer
            )


def _holder(device: Device, one: Slice) -> str | None:
    return next((held.consumer for held in device.held if held.slice == one), None)


def _gone(device: Device, held: Held, grants: Sequence[Grant]) -> str:
    if held.running:
        return f"{held.consumer} is drained from it: {_because(device, held, grants)}"
    if held.consumer is None:
        return "nobody uses it"
    return f"nothing of {held.consumer} runs on it, and it is given another place or nothing"


def _stays(device: Device, grant: Grant) -> str:
    before = device.whole_for if grant.slice is None else _holder(device, grant.slice)
    if before == grant.consumer:
        return f"{grant.consumer} has it already"
    return f"it is there already, and free for {_takers([grant])}"


def _mode(device: Device, grants: Sequence[Grant]) -> Iterator[Act]:
    """The switch between a whole device and slices, where it is needed or nobody could tell."""
    if not grants or not device.kind.profiles:
        return
    whole = _whole(grants)
    now = device.mig_now
    if now is None and (device.held or device.whole_for is not None):
        now = bool(device.held)
    if now == (whole is None):
        return
    verb: Verb = "mig-on" if whole is None else "mig-off"
    why = "it is to be partitioned" if whole is None else f"the whole device is for {_takers([whole])}"
    yield Act(verb, device.id, why if now is not None else f"{why}; whether it is so already is not known")
    if device.kind.architecture == "ampere":
        yield Act("reset", device.id, "an Ampere GPU takes the switch of its MIG mode at a reset")
