"""What holds of every placement, whatever is thrown at the planner."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gpu_agreement import KIND
from gpu_first_fit import first_fit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_how.gpu.geometry import fault
from ai_how.gpu.model import Conflict, Demand, Device, Held, Placement
from ai_how.gpu.plan import fits, place
from ai_how.gpu.repartition import repartition

KINDS = ("a30", "a100-40", "a100-80", "h100-94", "rtx-pro-6000", "l40")
NAMES = sorted({profile.name for key in KINDS for profile in KIND[key].profiles})
SOME = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@st.composite
def sites(draw: Any) -> tuple[list[Device], list[Demand]]:
    """Up to eight devices, and up to six demands."""
    keys = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8))
    devices = [Device(f"GPU-{n}", KIND[key], mig=key != "l40") for n, key in enumerate(keys)]
    names = sorted({profile.name for key in keys for profile in KIND[key].profiles}) or NAMES
    demands = []
    for number in range(draw(st.integers(1, 6))):
        what: dict[str, Any] = draw(
            st.one_of(
                st.sampled_from(names).map(lambda name: {"profile": name}),
                st.sampled_from(names).map(lambda name: {"profile": name}),
                st.tuples(st.sampled_from([1, 10, 20]), st.sampled_from([1, 2])).map(
                    lambda m: {"at_least": m}
                ),
                st.just({"whole": True}),
            )
        )
        spreading = draw(st.sampled_from(["packed", "packed", "spread"]))
        count = draw(st.integers(1, 4))
        consumer = draw(st.sampled_from("xyz"))
        demands.append(Demand(f"d{number}", consumer, count, spreading=spreading, **what))
    return devices, demands


def hold(devices: Sequence[Device], placement: Placement, *, running: bool = False) -> list[Device]:
    """The devices with a placement carried out on them."""
    held: dict[str, list[Held]] = defaultdict(list)
    whole: dict[str, str] = {}
    for grant in placement.grants:
        if grant.slice is None:
            whole[grant.device] = grant.consumer
        else:
            held[grant.device].append(Held(grant.slice, grant.consumer, running))
    return [
        replace(d, held=tuple(held[d.id]), whole_for=whole.get(d.id), whole_running=running and d.id in whole)
        for d in devices
    ]


@SOME
@given(sites())
def test_every_grant_is_legal_and_every_demand_met(site: tuple[list[Device], list[Demand]]) -> None:
    devices, demands = site
    got = place(devices, demands)
    if isinstance(got, Conflict):
        assert not fits(devices, demands)
        return
    assert Counter(grant.demand for grant in got.grants) == {d.name: d.count for d in demands}
    for device in devices:
        grants = got.on(device.id)
        if any(grant.slice is None for grant in grants):
            assert len(grants) == 1
        else:
            assert fault(device.kind, [(g.slice.start, g.slice.profile) for g in grants if g.slice]) is None


@SOME
@given(sites())
def test_never_worse_than_first_fit(site: tuple[list[Device], list[Demand]]) -> None:
    devices, demands = site
    demands = [replace(demand, spreading="packed") for demand in demands]
    met, opened = first_fit(devices, demands)
    got = place(devices, demands)
    if isinstance(got, Conflict):
        assert met <= sum(got.nearest.values()) < sum(demand.count for demand in demands)
    elif met == len(got.grants):
        assert len({grant.device for grant in got.grants}) <= opened


@SOME
@given(sites(), st.booleans())
def test_placing_again_changes_nothing(site: tuple[list[Device], list[Demand]], running: bool) -> None:
    devices, demands = site
    first = place(devices, demands)
    assert first == place(devices, demands)
    if isinstance(first, Placement):
        devices = hold(devices, first, running=running)
        again = place(devices, demands)
        assert isinstance(again, Placement)
        assert {(g.consumer, g.device, g.slice) for g in again.grants} == {
            (g.consumer, g.device, g.slice) for g in first.grants
        }
        assert all(grant.kept for grant in again.grants)
        assert not again.disturbed
        assert {act.verb for act in repartition(devices, again)} <= {"keep"}


@SOME
@given(sites())
def test_a_conflict_is_one_and_its_parts_are_not(site: tuple[list[Device], list[Demand]]) -> None:
    devices, demands = site
    got = place(devices, demands)
    if isinstance(got, Placement):
        return
    guilty = [demand for demand in demands if demand.name in got.demands]
    assert guilty and not fits(devices, guilty)
    for demand in guilty:
        assert fits(devices, [other for other in guilty if other is not demand])
    # The smallest: no set of fewer demands conflicts.
    fewer = [[d] for d in demands] if len(guilty) == 2 else []
    assert all(fits(devices, few) for few in fewer)
    nearest = [replace(d, count=got.nearest[d.name]) for d in demands if got.nearest[d.name]]
    assert fits(devices, nearest)


@SOME
@given(sites())
def test_carried_out_the_acts_lead_to_the_placement(site: tuple[list[Device], list[Demand]]) -> None:
    devices, demands = site
    before = place(devices, demands[: len(demands) // 2])
    if isinstance(before, Conflict):
        return
    devices = hold(devices, before, running=True)
    got = place(devices, demands[len(demands) // 2 :])
    if isinstance(got, Conflict):
        return
    there = {held.slice for device in devices for held in device.held}
    drained = set()
    for act in repartition(devices, got):
        assert act.why
        if act.verb == "drain":
            drained.add(act.consumer)
        elif act.verb == "destroy":
            assert act.slice in there
            there.remove(act.slice)
        elif act.verb == "create":
            assert act.slice is not None
            there.add(act.slice)
            kind = next(device.kind for device in devices if device.id == act.device)
            now = [(one.start, one.profile) for one in there if one.device == act.device]
            assert fault(kind, now) is None
        elif act.verb == "mig-off":
            assert not [one for one in there if one.device == act.device]
    assert there == {grant.slice for grant in got.grants if grant.slice} | set(got.left)
    assert drained == set(got.disturbed)
