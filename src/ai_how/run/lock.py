"""A lock on a file that says who holds it. The kernel releases it when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from ai_how.errors import AiHowError, LockHeld


class FileLock:
    """``with FileLock(path, "up"):`` holds the lock, or raises :class:`LockHeld` naming the holder at once."""

    def __init__(self, path: Path, purpose: str) -> None:
        self._path = path
        self._purpose = purpose
        self._file: IO[str] | None = None

    def __enter__(self) -> FileLock:
        file = self._locked()
        while not _is_at(file, self._path):
            # Its holder has removed it, and was gone before it was ours: whoever comes next would lock another one.
            file.close()
            file = self._locked()
        file.truncate()
        json.dump({"pid": os.getpid(), "purpose": self._purpose, "since": time.time()}, file)
        file.flush()
        self._file = file
        return self

    def _locked(self) -> IO[str]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                raise _held(self._path, file.read()) from error
        except OSError as error:
            file.close()
            raise AiHowError(
                f"the lock cannot be taken: {error.strerror or error}",
                where=str(self._path),
                cause="the file system has no locks, as a network folder may have none",
                todo="Choose a folder on a disk of this machine (--root, AI_HOW_HOME).",
            ) from error
        return file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.close()
            self._file = None


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether the open file is the one that is found by its path now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


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
