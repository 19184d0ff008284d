"""Waiting for one's turn: a lock that waits for its holder instead of giving up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ai_how.errors import LockHeld
from ai_how.host.model import Progress
from ai_how.run import FileLock, wait_until


@contextmanager
def turn(path: Path, purpose: str, progress: Progress, *, timeout: float = 1800.0) -> Iterator[None]:
    """Hold the lock on ``path``; while another process holds it, wait up to ``timeout`` seconds for it."""
    told = False

    def attempt() -> FileLock | None:
        nonlocal told
        try:
            return FileLock(path, purpose).__enter__()
        except LockHeld:
            if not told:
                progress(f"waiting for another process to {purpose}")
                told = True
            return None

    lock = wait_until(attempt, what=f"the turn to {purpose}", timeout=timeout)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)
