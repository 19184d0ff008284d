"""Ctrl-C, held back while something must not be left half-done; and SIGTERM and SIGHUP, taken for the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_TAKEN = (signal.SIGTERM, signal.SIGHUP)
_HELD = (signal.SIGINT, *_TAKEN)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold Ctrl-C, SIGTERM and SIGHUP back: they count when the block has ended. Programs that it runs see none.

    Keep it short: whoever presses Ctrl-C waits for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of them
        return
    came: list[int] = []

    def held(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, held) for number in _heeded(_HELD)}
    # What is started inherits the mask: Ctrl-C goes to every program of the terminal.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM, which a scheduler sends before it ends a job for good, and the end of a terminal for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda number, frame: signal.raise_signal(signal.SIGINT))
        for number in _heeded(_TAKEN)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _heeded(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Those that are not ignored, as nohup has SIGHUP ignored."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
