"""Keeps a benchmark on disk while it goes on: the result after its runs, and every single request beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ai_how.bench.exchange import Exchange
from ai_how.bench.model import Result
from ai_how.bench.results import write_result
from ai_how.bench.samples import SampleFile, sample_path, table_of

#: A result of hundreds of runs takes a while to write: that may take this share of the time, and no more.
_SHARE = 0.05


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
        self._next = 0.0

    def samples(self, run: int, exchanges: Sequence[Exchange]) -> None:
        self._samples.add(table_of(run, exchanges))

    def keep(self, result: Result) -> None:
        begun = time.monotonic()
        if begun < self._next:
            return
        self._write(self.of(result))
        now = time.monotonic()
        self._next = now + (now - begun) / _SHARE

    def finish(self, result: Result) -> Result:
        """Write the requests to the end; the result, which names their file, is the caller's to keep."""
        try:
            self._samples.write()
        except OSError as error:
            self._told(self._samples.path, error)
        return self.of(result)

    def of(self, result: Result) -> Result:
        """The result with the name of the file that has its requests."""
        return result.model_copy(update={"samples": self._samples.path.name if self._samples.any else None})

    def _write(self, result: Result) -> None:
        path = self._samples.path
        try:
            self._samples.write()
            path = self.path
            write_result(path, result)
        except OSError as error:
            self._told(path, error)

    def _told(self, path: Path, error: OSError) -> None:
        if not self._refused:
            self._say(f"{path} cannot be written ({error.strerror or error}); measuring goes on")
        self._refused = True
