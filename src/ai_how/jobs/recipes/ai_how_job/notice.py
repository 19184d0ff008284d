"""The notice: Slurm sends SIGUSR1 before the time limit; the script saves, leaves, and the job is requeued."""

from __future__ import annotations

import atexit
import os
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

EXIT_CODE = 85
"""Exit code of a script that has saved its work and wants the job to be requeued."""

MARKER = "requeue"
"""File in the checkpoint folder that says the same, because torchrun turns every exit code into 1."""

_given = False


def listen() -> None:
    """Remember the notice when it comes. Call it early: the batch script lets the signal be ignored until then.

    A marker that an earlier start of the job left is removed.
    """
    if folder := checkpoint_folder():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).unlink(missing_ok=True)
    signal.signal(signal.SIGUSR1, _remember)
    # The notice is repeated, and while Python shuts down it would end a process that has done all its work.
    atexit.register(signal.signal, signal.SIGUSR1, signal.SIG_IGN)


def given() -> bool:
    """Whether this process was told to save its work and leave."""
    return _given


def checkpoint_folder() -> Path | None:
    """The folder that is kept over requeues, or None when the script does not run as a job."""
    name = os.environ.get("AI_HOW_CHECKPOINT_DIR")
    return Path(name) if name else None


def output_folder() -> Path:
    """The folder of the job's results; ./output when the script does not run as a job. Made when missing."""
    folder = Path(os.environ.get("AI_HOW_OUTPUT_DIR") or "output")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def mark() -> None:
    """Write the marker that asks for a requeue."""
    if folder := checkpoint_folder():
        (folder / MARKER).touch()


def leave() -> NoReturn:
    """Ask for a requeue and end this process. Everything must have been saved before."""
    mark()
    raise SystemExit(EXIT_CODE)


def _remember(signum: int, frame: FrameType | None) -> None:
    global _given
    _given = True
