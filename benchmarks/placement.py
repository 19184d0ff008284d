"""How long it takes to place 5,000 demands on 1,000 GPUs of three kinds, and how many of them it opens.

    .venv/bin/python benchmarks/placement.py [--rounds 5] [--devices 1000] [--demands 5000] [--json]

Measured inside the process. Beside it stands first-fit: every unit on the first device that has room, at the lowest
free start. Then the same again with all that was placed on the devices, and once more with five demands exchanged.
Needs nothing but a clone with its environment.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "unit"))

from gpu_first_fit import first_fit

from ai_how.gpu.catalogue import kind_of
from ai_how.gpu.model import Conflict, Demand, Device, Held, Kind, Placement
from ai_how.gpu.plan import place

BOUND = 1.0
MODELS = ("a100-80", "h100-94", "a30")
#: What is asked, and how often: of 1,000 devices nine in ten are needed for 5,000 of these.
ASKED: tuple[tuple[dict[str, Any], float], ...] = (
    ({"profile": "1g.10gb"}, 9),
    ({"profile": "2g.20gb"}, 1),
    ({"profile": "3g.40gb"}, 0.3),
    ({"profile": "1g.20gb"}, 0.5),
    ({"profile": "1g.12gb"}, 9),
    ({"profile": "2g.24gb"}, 0.6),
    ({"profile": "3g.47gb"}, 0.2),
    ({"profile": "4g.47gb"}, 0.2),
    ({"profile": "1g.6gb"}, 5),
    ({"profile": "2g.12gb"}, 0.5),
    ({"profile": "4g.24gb"}, 0.1),
    ({"at_least": (20, 2)}, 0.6),
    ({"at_least": (10, 1)}, 6),
    ({"whole": True, "kind": "a30"}, 0.05),
)
Answer = TypeVar("Answer")


def site(devices: int, demands: int) -> tuple[list[Device], list[Demand]]:
    """Empty devices of three kinds in turn, and demands drawn with a fixed seed, each for a consumer of its own."""
    kinds: list[Kind] = [kind for model in MODELS if (kind := kind_of(model))]
    chance = random.Random(7)
    drawn = chance.choices([what for what, _ in ASKED], [weight for _, weight in ASKED], k=demands)
    return (
        [Device(f"GPU-{number}", kinds[number % len(kinds)]) for number in range(devices)],
        [Demand(f"d{number}", f"c{number}", **what) for number, what in enumerate(drawn)],
    )


def timed(rounds: int, act: Callable[[], Answer]) -> tuple[float, Answer]:
    """The median of the seconds, after one round that does not count; and the answer."""
    answer = act()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        answer = act()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), answer


def held(devices: Sequence[Device], placement: Placement) -> list[Device]:
    """The devices with the placement on them, idle."""
    slices: dict[str, list[Held]] = defaultdict(list)
    whole: dict[str, str] = {}
    for grant in placement.grants:
        if grant.slice is None:
            whole[grant.device] = grant.consumer
        else:
            slices[grant.device].append(Held(grant.slice, grant.consumer))
    return [replace(d, held=tuple(slices[d.id]), whole_for=whole.get(d.id)) for d in devices]


def placed(devices: Sequence[Device], demands: Sequence[Demand]) -> Placement:
    outcome = place(devices, demands)
    if isinstance(outcome, Conflict):
        sys.exit(f"these demands do not fit: {outcome.why}")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--demands", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    devices, demands = site(args.devices, args.demands)
    seconds, outcome = timed(args.rounds, lambda: placed(devices, demands))
    opened = len({grant.device for grant in outcome.grants})
    plain, (met, plainly) = timed(args.rounds, lambda: first_fit(devices, demands))
    there = held(devices, outcome)
    again, same = timed(1, lambda: placed(there, demands))
    others = [*demands[:-5], *(Demand(f"new{n}", f"new{n}", profile="2g.20gb") for n in range(5))]
    changed, near = timed(1, lambda: placed(there, others))
    facts: dict[str, object] = {
        "devices": args.devices,
        "demands": args.demands,
        "planner_seconds": round(seconds, 3),
        "planner_devices": opened,
        "bound_seconds": BOUND,
        "ratio_to_bound": round(seconds / BOUND, 2),
        "first_fit_seconds": round(plain, 3),
        "first_fit_met": met,
        "first_fit_devices": plainly,
        "ratio_to_first_fit_seconds": round(seconds / plain, 1),
        "ratio_to_first_fit_devices": round(opened / plainly, 3),
        "again_seconds": round(again, 2),
        "again_kept": sum(grant.kept for grant in same.grants),
        "five_exchanged_seconds": round(changed, 2),
        "five_exchanged_kept": sum(grant.kept for grant in near.grants),
    }
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        print("\n".join(f"{name.replace('_', ' '):30} {value}" for name, value in facts.items()))
    if opened > plainly and met == len(demands):
        sys.exit("first-fit opens fewer devices")


if __name__ == "__main__":
    main()
