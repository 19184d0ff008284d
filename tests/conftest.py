"""For all tests: nothing depends on who started the suite, on chance, or on which file is faster today."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# nohup, and a shell that starts something behind it, have these ignored, and every program started from here inherits
# it: tests that press Ctrl-C or end a terminal would wait for nothing.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# The same examples each time, and no time limit for one of them: a busy machine takes longer.
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

#: Seconds that files take whose tests are longer than most, on two cores at rest.
LONG = {
    "tests/unit/test_gpu_agreement.py": 60,
    "tests/unit/test_spec_any_text.py": 40,
}
#: Seconds that another test takes, by its folder.
USUAL = {"unit": 0.02, "golden": 0.02, "contract": 0.5, "integration": 2.0}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the files out to the workers, if there are several: the same ones to each every time.

    pytest-xdist itself gives the next file to whoever is idle, so that chance says which files meet in one process
    and in which order: what one of them leaves behind would be found out by some runs alone.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count > 1:
        sides = dealt([item.location[0] for item in items], count)
        for item in items:
            item.add_marker(pytest.mark.xdist_group(f"side{sides[item.location[0]]}"))


def dealt(tests: list[str], count: int) -> dict[str, int]:
    """A side for each file, by the file of each test: the longest first, to the side that has least."""
    seconds = {
        file: LONG.get(file) or number * USUAL.get(file.split("/")[1], 1.0)
        for file, number in Counter(tests).items()
    }
    loads, sides = [0.0] * count, {}
    for file in sorted(seconds, key=lambda file: (-seconds[file], file)):
        sides[file] = loads.index(min(loads))
        loads[sides[file]] += seconds[file]
    return sides
