"""A probe that is told to end, as its job was cancelled, takes away what it has brought up."""

from __future__ import annotations

import signal
from typing import NoReturn


def end_in_order() -> None:
    """Take SIGTERM for an exit: ``finally`` is run, where the signal alone would end the program on the spot."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)
