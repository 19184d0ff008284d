"""The planner: which demand gets which slice of which device.

The answer is exact. A device has few states, so they are enumerated; how many of the devices that are alike end in
which of them is an integer program, solved for one objective after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ai_how.errors import CouldNotTell
from ai_how.gpu.ask import Ask, gather, holdings
from ai_how.gpu.conflict import bare, conflict
from ai_how.gpu.deal import placement
from ai_how.gpu.model import Conflict, Demand, Device, Placement
from ai_how.gpu.pattern import Group, groups
from ai_how.gpu.solve import Model


def place(devices: Sequence[Device], demands: Sequence[Demand]) -> Placement | Conflict:
    """A place for every unit of every demand, or the smallest set of demands that cannot stand together.

    Of all placements the best, by these objectives in their order:

    1. all demands are met;
    2. the fewest consumers whose work runs are disturbed: lose a slice on which it runs;
    3. demands that are spread are on as many devices as can be;
    4. the fewest devices are in use;
    5. the largest slice that can still be placed anywhere is as large as can be, then the sum over all devices, by
       memory and then compute slices;
    6. as many slices as can be stay with the consumer that has them, then stay at all.

    The same input has the same answer, and what was placed and is held stays. Slices that nobody uses, and those whose
    consumer neither asks nor runs, are in nobody's way.

    Raises CouldNotTell for a held slice of a profile that its kind does not have, and when the solver has no answer.
    """
    asked = [demand for demand in demands if demand.count > 0]
    for device in devices:
        strange = [h.slice.profile for h in device.held if device.kind.profile(h.slice.profile) is None]
        if strange:
            raise CouldNotTell(
                f"{device.id} holds a slice {strange[0]}, and {device.kind.key} has no such profile",
                todo="Take its profiles from NVML, or correct the inventory.",
            )
    found = _attempt(devices, asked, apart=False)
    if found is None and any(running for held in holdings(devices).values() for *_, running in held):
        found = _attempt(devices, asked, apart=True)
    return found if found is not None else conflict(devices, asked)


def fits(devices: Sequence[Device], demands: Sequence[Demand]) -> bool:
    """Whether all demands can be met, whoever had to be disturbed for it."""
    empty = bare(devices)
    asks = gather(empty, demands, apart=False)
    return Model(groups(empty, demands, asks, apart=False), asks).feasible()


def _attempt(devices: Sequence[Device], demands: Sequence[Demand], *, apart: bool) -> Placement | None:
    """The best placement; without ``apart`` the best that disturbs nobody. None when there is none."""
    # What is held and idle stands in nobody's way: the goals are sought without it, which is a far smaller program.
    running = [_running(device) for device in devices]
    model, alike, asks = _model(running, demands, apart=apart)
    goals = model.goals()
    if goals is None:
        return None
    if any(one is not other for one, other in zip(running, devices, strict=True)):
        model, alike, asks = _model(devices, demands, apart=apart)
        model.reach(goals)
    return placement(alike, asks, demands, model.best())


def _model(
    devices: Sequence[Device], demands: Sequence[Demand], *, apart: bool
) -> tuple[Model, Sequence[Group], Sequence[Ask]]:
    asks = gather(devices, demands, apart=apart)
    alike = groups(devices, demands, asks, apart=apart)
    return Model(alike, asks, quiet=not apart), alike, asks


def _running(device: Device) -> Device:
    held = tuple(held for held in device.held if held.running and held.consumer is not None)
    if len(held) == len(device.held) and device.whole_running == (device.whole_for is not None):
        return device
    return replace(device, held=held, whole_for=device.whole_for if device.whole_running else None)
