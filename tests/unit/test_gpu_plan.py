"""What the planner decides, case by case, and what it says when it cannot."""

from __future__ import annotations

import pytest

from ai_how.errors import CouldNotTell
from ai_how.gpu.catalogue import kind_of
from ai_how.gpu.model import Conflict, Demand, Device, Held, Placement, Slice
from ai_how.gpu.plan import place
from ai_how.gpu.repartition import repartition

A100 = kind_of("a100")
H100 = kind_of("h100")
L40 = kind_of("l40")
A30 = kind_of("a30")
assert A100 and H100 and L40 and A30
CARD = Device("GPU-0", A100)
OTHER = Device("GPU-1", L40, mig=False)


def placed(devices: list[Device], *demands: Demand) -> Placement:
    got = place(devices, demands)
    assert isinstance(got, Placement), got
    return got


def at(got: Placement) -> list[tuple[str, str, int | None]]:
    return [(g.demand, g.device, g.slice.start if g.slice else None) for g in got.grants]


def running(start: int, profile: str, consumer: str) -> Held:
    return Held(Slice("GPU-0", start, profile), consumer, running=True)


def test_a_small_slice_goes_to_the_end_that_leaves_most_room() -> None:
    got = placed([CARD], Demand("a", "x", profile="1g.10gb"))
    assert at(got) == [("a", "GPU-0", 6)]
    assert got.remains == {"GPU-0": "4g.40gb"}


def test_few_devices_are_opened_and_spread_ones_many() -> None:
    cards = [Device(f"GPU-{number}", A100) for number in range(3)]
    packed = placed(cards, Demand("a", "x", 3, profile="2g.20gb"))
    assert {grant.device for grant in packed.grants} == {"GPU-0"}
    spread = placed(cards, Demand("a", "x", 3, profile="2g.20gb", spreading="spread"))
    assert len({grant.device for grant in spread.grants}) == 3


def test_at_least_is_the_smallest_that_suffices_on_each_device() -> None:
    got = placed([CARD, Device("GPU-1", A30)], Demand("a", "x", 4, at_least=(12, 2), spreading="spread"))
    named = {(grant.device, grant.slice.profile) for grant in got.grants if grant.slice}
    assert named == {("GPU-0", "2g.20gb"), ("GPU-1", "2g.12gb")}


def test_pins_are_kept() -> None:
    got = placed(
        [CARD, Device("GPU-1", A100), Device("GPU-2", L40, mig=False)],
        Demand("a", "x", profile="1g.10gb", device="GPU-1", start=3),
        Demand("b", "x", whole=True, kind="l40"),
    )
    assert at(got) == [("a", "GPU-1", 3), ("b", "GPU-2", None)]


def test_running_work_stays_where_it_is_when_anything_else_works() -> None:
    card = Device("GPU-0", A100, held=(running(0, "1g.10gb", "x"),))
    got = placed([card], Demand("a", "y", profile="3g.40gb"))
    assert at(got) == [("a", "GPU-0", 4)]
    assert got.left == (Slice("GPU-0", 0, "1g.10gb"),) and not got.disturbed


def test_running_work_is_disturbed_when_nothing_else_works() -> None:
    card = Device("GPU-0", A100, held=(running(0, "1g.10gb", "x"), running(6, "1g.10gb", "z")))
    got = placed([card], Demand("a", "y", profile="4g.40gb"))
    assert got.disturbed == ("x",)
    assert got.left == (Slice("GPU-0", 6, "1g.10gb"),)
    acts = [(act.text, act.why) for act in repartition([card], got)]
    needed = "its memory slices are needed by 4g.40gb at 0, for a (y)"
    assert acts == [
        ("drain x from 1g.10gb at 0 on GPU-0", needed),
        ("destroy 1g.10gb at 0 on GPU-0", f"x is drained from it: {needed}"),
        ("keep 1g.10gb at 6 on GPU-0", "nobody asks for it, and work still runs on it"),
        ("create 4g.40gb at 0 on GPU-0", "for a (y)"),
    ]


def test_a_consumer_that_runs_in_two_places_is_disturbed_once() -> None:
    held = (running(0, "2g.20gb", "x"), running(2, "2g.20gb", "x"), running(4, "3g.40gb", "y"))
    got = placed([Device("GPU-0", A100, held=held)], Demand("a", "z", profile="3g.40gb"))
    assert len(got.disturbed) == 1


def test_idle_slices_are_in_nobodys_way_and_used_where_they_match() -> None:
    held = (Held(Slice("GPU-0", 0, "3g.40gb")), Held(Slice("GPU-0", 4, "1g.10gb"), "gone"))
    got = placed([Device("GPU-0", A100, held=held)], Demand("a", "x", profile="4g.40gb"))
    assert at(got) == [("a", "GPU-0", 0)]
    again = placed([Device("GPU-0", A100, held=held)], Demand("a", "x", profile="3g.40gb", count=2))
    assert [grant.kept for grant in again.grants] == [True, False]


def test_a_larger_slice_that_suffices_may_be_kept() -> None:
    card = Device("GPU-0", A100, held=(running(4, "3g.40gb", "x"),))
    got = placed([card], Demand("a", "x", at_least=(20, 1)), Demand("b", "y", profile="4g.40gb"))
    assert at(got) == [("a", "GPU-0", 4), ("b", "GPU-0", 0)]
    assert not got.disturbed and not got.left


def test_a_whole_device_is_reset_for_slices_on_ampere_only() -> None:
    def verbs(device: Device) -> list[str]:
        got = placed([device], Demand("a", "y", profile="1g.10gb"))
        return [act.verb for act in repartition([device], got)]

    assert verbs(Device("GPU-0", A100, whole_for="x", whole_running=True)) == [
        *("drain", "mig-on", "reset", "create"),
    ]
    assert verbs(Device("GPU-0", H100, whole_for="x")) == ["mig-on", "create"]
    assert verbs(Device("GPU-0", H100, mig_now=True)) == ["create"]


@pytest.mark.parametrize(
    ("demands", "why"),
    [
        (
            [Demand("big", "x", profile="4g.40gb"), Demand("web", "x", profile="1g.10gb", start=2)],
            "big (4g.40gb) and web (1g.10gb at memory slice 2) do not fit together on GPU-0, the only device for them: "
            "both need memory slice 2",
        ),
        (
            [Demand("a", "x", 2, profile="3g.40gb"), Demand("b", "x", profile="1g.10gb")],
            "a (2 of 3g.40gb) and b (1g.10gb) do not fit together on GPU-0, the only device for them: "
            "they take 9 memory slices, and it has 8",
        ),
        (
            [Demand("a", "x", 8, profile="1g.10gb")],
            "a (8 of 1g.10gb) does not fit on GPU-0, the only device for it: "
            "8 of 1g.10gb are asked for, and a device holds at most 7",
        ),
        (
            [Demand("a", "x", profile="1g.5gb")],
            "a (1g.5gb): GPU-0 (a100-80) has no profile 1g.5gb; by slice count it is 1g.10gb there",
        ),
        (
            [Demand("a", "x", at_least=(100, 1))],
            "a (at least 100 GB and 1 compute slice): no allowed profile of GPU-0 holds that much; "
            "the largest is 7g.80gb",
        ),
        (
            [Demand("a", "x", 3, whole=True)],
            "a (3 whole devices): 3 whole devices are asked for, and there are 2 (GPU-0 and GPU-1)",
        ),
        (
            [Demand("a", "x", whole=True, device="GPU-0"), Demand("b", "x", profile="1g.10gb")],
            "a (a whole device) and b (1g.10gb) cannot share GPU-0, the only device for them: "
            "a device that is given as a whole has no slices for others",
        ),
        (
            [Demand("a", "x", profile="3g.40gb", start=1)],
            "a (3g.40gb at memory slice 1): 3g.40gb can start at 0 or 4 only",
        ),
        (
            [Demand("a", "x", profile="1g.10gb", device="GPU-7")],
            "a (1g.10gb) is pinned to GPU-7, which is not among GPU-0 and GPU-1",
        ),
        (
            [Demand("a", "x", profile="1g.10gb", device="GPU-1")],
            "a (1g.10gb) needs a device that may be partitioned; GPU-1 may not be",
        ),
        (
            [Demand("a", "x", whole=True, kind="h200")],
            "a (a whole device) wants a device of kind h200; there is a100-80 and l40",
        ),
    ],
)
def test_why_it_does_not_fit(demands: list[Demand], why: str) -> None:
    got = place([CARD, OTHER], demands)
    assert isinstance(got, Conflict)
    assert got.why == why
    assert got.demands == tuple(demand.name for demand in demands)


def test_a_profile_that_is_not_allowed_is_told_apart_from_one_that_is_not_there() -> None:
    card = Device("GPU-0", A100, allowed=("1g.10gb", "7g.80gb"))
    got = place([card], [Demand("a", "x", profile="3g.40gb")])
    assert isinstance(got, Conflict)
    assert got.why == "a (3g.40gb): GPU-0 has 3g.40gb, but only 1g.10gb or 7g.80gb is allowed on it"


def test_the_smallest_conflict_of_many_demands_and_the_nearest_that_fits() -> None:
    demands = [Demand(f"s{number}", "x", profile="1g.10gb") for number in range(5)]
    demands += [Demand("p", "x", profile="4g.40gb"), Demand("q", "x", profile="7g.80gb")]
    got = place([CARD, OTHER], demands)
    assert isinstance(got, Conflict)
    assert len(got.demands) == 2 and "q" in got.demands
    assert sum(got.nearest.values()) == 5 and got.nearest["q"] == 0


def test_on_several_devices_it_says_how_much_of_it_fits() -> None:
    cards = [Device(f"GPU-{number}", A100) for number in range(3)]
    got = place(cards, [Demand("a", "x", 4, profile="3g.40gb"), Demand("b", "y", 3, profile="4g.40gb")])
    assert isinstance(got, Conflict)
    assert got.why == (
        "a (4 of 3g.40gb) and b (3 of 4g.40gb) ask for 7 slices together; "
        "at most 6 of them fit on GPU-0, GPU-1 and GPU-2"
    )


def test_a_slice_that_its_card_cannot_have_is_not_planned_around() -> None:
    card = Device("GPU-0", A100, held=(running(0, "3g.39gb", "x"),))
    with pytest.raises(CouldNotTell, match=r"GPU-0 holds a slice 3g\.39gb, and a100-80 has no such profile"):
        place([card], [Demand("a", "x", profile="1g.10gb")])


def test_little_or_nothing_is_placed_as_well() -> None:
    assert placed([]) == Placement(())
    assert placed([CARD, OTHER]).remains == {"GPU-0": "7g.80gb", "GPU-1": "whole"}
    busy = Device("GPU-0", A100, held=(running(0, "1g.10gb", "x"),))
    assert placed([busy]).left == (Slice("GPU-0", 0, "1g.10gb"),)
    assert placed([Device("GPU-0", A100, whole_for="x", whole_running=True)]).remains == {"GPU-0": None}
    got = place([], [Demand("a", "x", profile="1g.10gb")])
    assert isinstance(got, Conflict) and got.why == "a (1g.10gb): there are no devices"
