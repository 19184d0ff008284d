"""What the planner is compared with: every unit on the first device that has room, at the lowest start that is free."""

from __future__ import annotations

from collections.abc import Sequence

from ai_how.gpu.ask import WHOLE, good
from ai_how.gpu.geometry import State, free_starts
from ai_how.gpu.model import Demand, Device


def first_fit(devices: Sequence[Device], demands: Sequence[Demand]) -> tuple[int, int]:
    """Units that found a place, and devices in use. What is held counts for nothing."""
    states: dict[str, State | None] = {device.id: () for device in devices}
    # A device that has no room for a profile gets none later: the search goes on where it last ended.
    begin: dict[object, int] = {}
    met = 0
    for demand in demands:
        key = (demand.profile, demand.at_least, demand.whole, demand.kind, demand.device, demand.start)
        for _ in range(demand.count):
            at = begin.get(key, 0)
            while at < len(devices) and not _put(devices[at], demand, states):
                at += 1
            begin[key] = at
            met += at < len(devices)
    return met, sum(state != () for state in states.values())


def _put(device: Device, demand: Demand, states: dict[str, State | None]) -> bool:
    state, name = states[device.id], good(demand, device)
    if name is None or state is None:
        return False
    if name == WHOLE:
        if state:
            return False
        states[device.id] = None
        return True
    profile = device.kind.profile(name)
    assert profile is not None
    starts = [s for s in free_starts(device.kind, state, profile) if demand.start in (None, s)]
    if starts:
        states[device.id] = tuple(sorted((*state, (starts[0], profile)), key=lambda spot: spot[0]))
    return bool(starts)
