"""Samples the machine under a benchmark: a process of its own writes samples, and each run takes those of its time."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ai_how.bench.model import Series
from ai_how.bench.work import Address
from ai_how.errors import AiHowError
from ai_how.run import Command, Gate

_HERE = ("127.0.0.1", "localhost", "::1")


class MachineMonitor:
    """This machine, its devices, and the services (that of the second side, too) where they listen here. Close it."""

    def __init__(self, gate: Gate, folder: Path, *addresses: Address | None, every: float = 0.5) -> None:
        self._gate, self._output = gate, folder / "samples"
        self._options = [f"--every={every}", f"--parent={os.getpid()}"]
        here = [one.port for one in addresses if one is not None and one.host in _HERE]
        self._options += [f"--port={port}" for port in here]
        self._process: int | None = None
        self._since = 0.0

    def start(self) -> None:
        if self._process is None:
            command = Command((sys.executable, "-m", "ai_how.bench.sampler", *self._options))
            with suppress(AiHowError, OSError):
                self._process = self._gate.start(command, self._output)
        self._since = time.monotonic()

    def stop(self) -> tuple[Series, ...]:
        """What was sampled since the start. Nothing where no sample could be taken: a run does not end for that."""
        try:
            text = self._output.read_text(encoding="utf-8")
        except OSError:
            return ()
        return series(text.splitlines(), self._since, time.monotonic())

    def close(self) -> None:
        if self._process is not None:
            with suppress(OSError):
                os.kill(self._process, signal.SIGTERM)
            self._process = None


def series(lines: Iterable[str], since: float, until: float) -> tuple[Series, ...]:
    """The samples between two instants, as a series each; a line that is not whole is left out. Pure."""
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for line in lines:
        try:
            facts: dict[str, Any] = json.loads(line)
            at = float(facts["at"])
            values = list(facts["values"])
        except (ValueError, KeyError, TypeError):
            continue
        if since <= at <= until:
            for name, unit, value, where in values:
                found.setdefault((name, unit, where), []).append((round(at - since, 4), float(value)))
    return tuple(
        Series(
            name=name,
            unit=unit,
            where=where,
            times=tuple(time for time, _ in own),
            values=tuple(value for _, value in own),
        )
        for (name, unit, where), own in found.items()
    )
