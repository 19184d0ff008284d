"""A lock on a file that says who holds it. The kernel releases it when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from ai_how.errors import LockHeld


class FileLock:
    """``with FileLock(path, "up"):`` holds the lock, or raises :class:`LockHeld` naming the holder at once."""

    def __init__(self, path: Path, purpose: str) -> None:
        self._path = path
        self._purpose = purpose
        self._file: IO[str] | None = None

    def __enter__(self) -> FileLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = file.read()
            file.close()
            raise _held(self._path, holder) from error
        file.truncate()
        json.dump({"pid": os.getpid(), "purpose": self._purpose, "since": time.time()}, file)
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.close()
            self._file = None


def _held(path: Path, holder: str) -> LockHeld:
    try:
        facts = json.loads(holder)
        since = time.strftime("%H:%M:%S", time.localtime(facts["since"]))
        who = f"`ai-how {facts['purpose']}` (process {facts['pid']}, since {since})"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return LockHeld(
        f"the site is being changed by {who}",
        where=str(path),
        todo="Wait for it to end, or end it; the lock goes with it.",
    )
