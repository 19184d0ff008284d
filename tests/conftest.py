"""For all tests: nothing depends on who started the suite, on chance, or on which file is faster today."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from sides import dealt

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the files out to the workers, if there are several: the same ones to each every time.

    pytest-xdist itself gives the next file to whoever is idle, so that chance says which files meet in one process
    and in which order: what one of them leaves behind would be found out by some runs alone.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count > 1:
        files = [item.nodeid.partition("::")[0] for item in items]
        sides = dealt(files, count)
        for item, file in zip(items, files, strict=True):
            item.add_marker(pytest.mark.xdist_group(f"side{sides[file]}"))
