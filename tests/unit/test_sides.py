"""Files of tests are dealt out to workers evenly, and always in the same way."""

from __future__ import annotations

from pathlib import Path

from sides import INSTALLING, LONG, dealt

ROOT = Path(__file__).parents[2]


def test_the_files_that_are_named_are_there() -> None:
    assert not [file for file in {*INSTALLING, *LONG} if not (ROOT / file).is_file()]


def test_the_longest_are_apart_and_order_plays_no_part() -> None:
    tests = 3 * [*LONG, *(f"tests/unit/test_{number}.py" for number in range(20))]
    sides = dealt(tests, 2)
    assert sides == dealt(reversed(tests), 2) and set(sides) == set(tests)
    loads = [sum(LONG.get(file, 0) for file, side in sides.items() if side == one) for one in (0, 1)]
    assert abs(loads[0] - loads[1]) < max(LONG.values())


def test_what_installs_something_is_on_one_side() -> None:
    sides = dealt([*LONG, *INSTALLING], 2)
    assert len({sides[file] for file in INSTALLING}) == 1
