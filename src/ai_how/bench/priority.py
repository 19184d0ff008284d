"""To be scheduled before other work: a generator that waits for a core sends late, and reads answers late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: The lowest of the real-time priorities: before everything ordinary, behind everything that asked for more.
_PRIORITY = 1


@contextmanager
def first_in_line() -> Iterator[bool]:
    """Run under ``SCHED_RR`` where the system allows it (root, or a limit on ``rtprio``); tells whether it does.

    Programs that are started meanwhile inherit it. The kernel leaves the others a twentieth of the time at least.
    """
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    allowed = False
    if policy == os.SCHED_OTHER:
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
            allowed = True
    try:
        yield allowed or policy in (os.SCHED_RR, os.SCHED_FIFO)
    finally:
        if allowed:
            os.sched_setscheduler(0, policy, parameter)


@contextmanager
def as_everybody() -> Iterator[None]:
    """Start programs without the priority: what is measured must not be favoured before the machine's other work."""
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy != os.SCHED_RR:
        yield
        return
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)
