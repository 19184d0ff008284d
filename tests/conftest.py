"""For all tests: nothing depends on who started the suite, on chance, or on which file is faster today."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

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


class Sides(LoadScopeScheduling):
    """Deals the files out to the workers: the same ones to each every time.

    pytest-xdist itself gives the next file to whoever is idle, so that chance says which files meet in one process
    and in which order: what one of them leaves behind would be found out by some runs alone.
    """

    sides: Mapping[str, int] = {}

    def _split_scope(self, nodeid: str) -> str:
        if not self.sides:
            self.sides = dealt([file_of(one) for one in self.collection or ()], self.numnodes)
        return f"side {self.sides[file_of(nodeid)]}"


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Sides:
    return Sides(config, log)
