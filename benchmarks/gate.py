"""How often the regression gate is right: on real servers, by the code behind `ai-how bench run --gate`, and simulated.

In each round a server is measured in turns with itself, and with one that is a tenth slower: two recipes with
``against``, five runs a side. Counted are the rounds in which the first pair was called changed, which is wrong, and
the second worse, which is right; rounds that the verdict left out (this machine was too busy) are counted too, and
are neither. Simulated are many more comparisons of runs whose truth is known, under noise and under a drift.

``python benchmarks/gate.py [--rounds 20] [--simulated 400] [--json]``. A round takes some twenty seconds. Each count
has its exact interval (Clopper and Pearson, 95 %): what so many rounds can say of the true share. Ends with 1 when a
change was called without one more than once in twenty, or a slowdown of a tenth was missed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ai_how.bench.calibrate import reference_server
from ai_how.bench.compare import sides_compared
from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.priority import first_in_line
from ai_how.bench.statistics import Better, compare
from ai_how.errors import CouldNotTell
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench

#: Seconds that the usual server takes, and how much slower the other one is.
SERVICE, SLOWER = 0.02, 1.1
#: Runs a side, and the wrong alarms that are allowed.
RUNS, ALLOWED = 5, 0.05
BETTER: dict[str, Better] = {"p50": "lower", "p99": "lower"}
RECIPE = """\
version: "1.0"
kind: bench
name: gate
target: {{url: "http://{one}"}}
against: {{target.url: "http://{other}"}}
load: {{arrivals: constant, rate: 400, seconds: 0.5, connections: 64}}
repetitions: {runs}
"""


def outcome(factor: float) -> str:
    """A server against one that takes ``factor`` as long.

    ``worse``, ``changed``, ``no change``, or ``left out`` where no figure could be trusted.
    """
    with (
        # The servers are to be as they are meant to be, whatever else runs here.
        first_in_line(),
        reference_server(LocalGate(), f"--service={SERVICE}") as one,
        reference_server(LocalGate(), f"--service={factor * SERVICE}") as other,
        tempfile.TemporaryDirectory(prefix="ai-how-gate-") as folder,
    ):
        recipe = parse_bench(RECIPE.format(one=one, other=other, runs=RUNS), "gate.yaml")
        result = Bench(recipe, Place(LocalGate(), Path(folder), one)).run()
    try:
        return sides_compared(result).outcome
    except CouldNotTell as error:
        print(error.detail or error.cause or error.message, file=sys.stderr)
        return "left out"


def likely(count: int, of: int) -> tuple[float, float]:
    """The shares with which so many of so many are no surprise, to 95 %, by the binomial distribution itself."""

    def at_most(number: int, share: float) -> float:
        return sum(math.comb(of, one) * share**one * (1 - share) ** (of - one) for one in range(number + 1))

    def where(crossed: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if crossed(middle) else (middle, high)
        return round(low, 4)

    return (
        where(lambda share: 1 - at_most(count - 1, share) > 0.025) if count else 0.0,
        where(lambda share: at_most(count, share) < 0.025) if count < of else 1.0,
    )


def measured(rounds: int) -> dict[str, Any]:
    """The rounds on real servers."""
    same, slower = Counter[str](), Counter[str]()
    began = time.monotonic()
    for number in range(rounds):
        first, second = outcome(1.0), outcome(SLOWER)
        same[first] += 1
        slower[second] += 1
        print(f"round {number + 1}: same {first}, slower {second}", file=sys.stderr)
    wrong, right = same["worse"] + same["changed"], slower["worse"]
    return {
        "rounds": rounds,
        "seconds": round(time.monotonic() - began),
        "called a change without one": wrong,
        "of those that could be told, to 95 %": likely(wrong, rounds - same["left out"]),
        "slowdown of a tenth found": right,
        "of all, to 95 %": likely(right, rounds),
        "left out, same": same["left out"],
        "left out, slower": slower["left out"],
    }


def side(chance: random.Random, factor: float, levels: Sequence[float]) -> dict[str, list[float]]:
    """Runs of one side: two figures that are noisy by 2 % and by 4 %."""
    return {
        name: [factor * level * chance.gauss(1, noise) for level in levels]
        for name, noise in (("p50", 0.02), ("p99", 0.04))
    }


def simulated(count: int) -> dict[str, dict[str, float]]:
    """Shares of comparisons that called a change, where there was none and where there was one of a tenth."""
    found: dict[str, dict[str, float]] = {}
    for name, runs, drift, in_turns in (
        ("five runs a side", 5, 0.0, True), ("eight in turns, under a drift", 8, 0.3, True),
    ):  # fmt: skip
        chance = random.Random(name)
        wrong = right = 0
        for _ in range(count):
            levels = [50 * (1 + drift * index / runs) for index in range(runs)]
            base, same, slow = (side(chance, factor, levels) for factor in (1.0, 1.0, SLOWER))
            wrong += any(one.found for one in compare(base, same, BETTER, in_turns=in_turns))
            right += any(one.worse_by(0.0) for one in compare(base, slow, BETTER, in_turns=in_turns))
        found[name] = {
            "called a change without one": wrong / count,
            "slowdown of a tenth found": right / count,
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20, help="on real servers")
    parser.add_argument("--simulated", type=int, default=400, help="comparisons of each kind")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    real = measured(args.rounds)
    facts: dict[str, Any] = {"measured": real, "simulated": simulated(args.simulated)}
    print(json.dumps(facts, indent=2))
    wrong = real["called a change without one"] > max(1, ALLOWED * args.rounds)
    missed = real["slowdown of a tenth found"] + real["left out, slower"] < args.rounds
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
