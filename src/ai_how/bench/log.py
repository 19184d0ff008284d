"""Keeps a benchmark on disk while it goes on: the result after every run, and every single request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ai_how.bench.exchange import Exchange
from ai_how.bench.model import Result
from ai_how.bench.results import write_result


class FileLog:
    """A result in one file.

    Where the disk refuses, that is said, and measuring goes on: the result is still in memory.
    """

    def __init__(self, path: Path, say: Callable[[str], None] | None = None) -> None:
        self.path = path
        self._say = say or (lambda _: None)
        self.refused: OSError | None = None

    def samples(self, run: int, exchanges: Sequence[Exchange]) -> None:
        """Not kept yet."""

    def keep(self, result: Result) -> None:
        try:
            write_result(self.path, result)
        except OSError as error:
            if self.refused is None:
                self._say(
                    f"the result cannot be written to {self.path} ({error.strerror or error}); measuring goes on"
                )
            self.refused = error
        else:
            self.refused = None
