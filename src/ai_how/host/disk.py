"""How much room is left on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

MIB = 2**20
#: The most that a service writes at one go: MariaDB's log file. What fails with less than that free, fails for it.
LARGEST_WRITE = 96 * MIB
#: With less than this nothing goes on: a database that is told so waits, for whoever makes room.
NOTHING = 4 * MIB


def shortage(folder: Path, below: int = LARGEST_WRITE) -> str | None:
    """What to say of the disk under ``folder`` when less than ``below`` bytes are free; None while there is room."""
    free = shutil.disk_usage(folder).free
    return f"the disk is full: {free / MIB:.0f} MiB are free" if free < below else None
