"""A timer of the event loop that is as exact as the kernel's: uvloop's own counts whole milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable

_MONOTONIC = 1
_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC


class _Spec(ctypes.Structure):
    """``struct itimerspec``: an interval, which is none here, and the time of the first expiry."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class Timer:
    """Calls ``fire`` once at each time it is set to, in seconds of :func:`time.monotonic`. Close it.

    A Linux timerfd on an absolute time: setting it late does not move it, a time that has passed fires at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "timerfd")
        self._loop = loop
        self._fire = fire
        self._spec = _Spec()
        self._pointer = ctypes.byref(self._spec)
        loop.add_reader(self._fd, self._expired)

    def set(self, at: float) -> None:
        """Fire at that time, and at no other that was set before."""
        nanoseconds = max(1, round(at * 1e9))
        self._spec.at_s, self._spec.at_ns = divmod(nanoseconds, 1_000_000_000)
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, self._pointer, None)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew meanwhile
        self._fire()
