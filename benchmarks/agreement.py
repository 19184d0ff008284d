"""The planner against the oracle of the tests on one device: every occupied state with every multiset that fits.

    python benchmarks/agreement.py KIND [--profiles 1g.10gb,2g.20gb] [--minutes 30]

``KIND`` is a key of the catalogue that the oracle knows, such as a30 or rtx-pro-6000. Pairs come in a random order of a
fixed seed, so that a run that is cut short by ``--minutes`` is a fair sample. Ends with exit code 1 at a disagreement.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit"))

import gpu_oracle as oracle
from test_gpu_agreement import agree_alone


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=sorted(oracle.TABLES))
    parser.add_argument("--profiles", help="only these, separated by commas (default: all of the kind)")
    parser.add_argument("--minutes", type=float, default=30.0)
    asked = parser.parse_args()
    known = tuple(oracle.TABLES[asked.kind][3])
    names = tuple(asked.profiles.split(",")) if asked.profiles else known
    if unknown := set(names) - set(known):
        parser.error(f"{asked.kind} has no profile {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    states = oracle.ends(asked.kind, names)
    fitting = sorted({tuple(sorted(Counter(name for _, name in end).items())) for end in states if end})
    pairs = [(held, wanted) for held in states for wanted in fitting]
    random.Random(1).shuffle(pairs)
    began = time.monotonic()
    compared = wrong = 0
    for held, wanted in pairs:
        try:
            agree_alone(asked.kind, held, wanted)
        except AssertionError as error:
            wrong += 1
            print(f"disagreement: held {sorted(held)}, wanted {wanted}: {error}")
        compared += 1
        if time.monotonic() - began > asked.minutes * 60:
            break
    print(
        f"{asked.kind}: {len(states)} states, {len(fitting)} multisets, {compared} of {len(pairs)} pairs compared, "
        f"{wrong} disagreements, {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
