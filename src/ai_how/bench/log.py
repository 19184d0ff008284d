"""Keeps a benchmark on disk while it goes on: the result after every run, and every single request beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ai_how.bench.exchange import Exchange
from ai_how.bench.model import Result
from ai_how.bench.results import write_result
from ai_how.bench.samples import SampleFile, sample_path, table_of


class FileLog:
    """A result in one file, its requests in a second.

    Where the disk refuses, that is said once, and measuring goes on: the result is still in memory, and who runs the
    benchmark gets it.
    """

    def __init__(self, path: Path, say: Callable[[str], None] | None = None) -> None:
        self.path = path
        self._samples = SampleFile(sample_path(path))
        self._say = say or (lambda _: None)
        self._refused = False
        self._has_samples = False

    def samples(self, run: int, exchanges: Sequence[Exchange]) -> None:
        try:
            self._samples.add(table_of(run, exchanges))
            self._has_samples = self._has_samples or bool(exchanges)
        except OSError as error:
            self._told(self._samples.path, error)

    def keep(self, result: Result) -> None:
        try:
            write_result(self.path, self.of(result))
        except OSError as error:
            self._told(self.path, error)

    def of(self, result: Result) -> Result:
        """The result with the name of the file that has its requests."""
        return result.model_copy(update={"samples": self._samples.path.name if self._has_samples else None})

    def _told(self, path: Path, error: OSError) -> None:
        if not self._refused:
            self._say(f"{path} cannot be written ({error.strerror or error}); measuring goes on")
        self._refused = True
