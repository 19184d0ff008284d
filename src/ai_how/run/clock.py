"""Time, as something that can be passed in; and the one way to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from ai_how.errors import TimedOut

T = TypeVar("T")


class Clock(Protocol):
    """Wall time, monotonic time and sleep, all in seconds."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def wait_until(
    probe: Callable[[], T | None],
    *,
    what: str,
    timeout: float,
    clock: Clock | None = None,
    first: float = 0.02,
    longest: float = 0.25,
) -> T:
    """Ask ``probe`` until it answers with something true; the pauses grow from ``first`` to ``longest`` seconds.

    Raises :class:`TimedOut` naming ``what`` after ``timeout`` seconds. An exception of the probe passes through.
    """
    clock = clock or SystemClock()
    deadline = clock.monotonic() + timeout
    pause = first
    while True:
        answer = probe()
        if answer:
            return answer
        if clock.monotonic() >= deadline:
            raise TimedOut(f"{what} did not happen within {timeout:g} s")
        clock.sleep(pause)
        pause = min(pause * 1.5, longest)
