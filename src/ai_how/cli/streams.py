"""The three streams of a command: there, whatever its caller closed, and let go of when nobody takes their text."""

from __future__ import annotations

import os
import sys
from typing import IO


def open_closed() -> None:
    """Put the null device in the place of a stream that was closed, as cron and ``2>&-`` close them.

    Else a file that is opened later gets the stream's number, and with it whatever is printed.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _to_nowhere(number)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def let_go(stream: IO[str]) -> None:
    """What is still to come on this stream, and what waits in its buffer, goes nowhere from now on."""
    _to_nowhere(stream.fileno())


def flush_all() -> None:
    """Hand over what waits in the buffers. Where nobody takes it, the interpreter has nothing to complain of."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            let_go(stream)


def _to_nowhere(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
