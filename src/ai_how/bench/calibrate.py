"""What the generator itself can do, here and now: measured before every run, against a server that answers at once."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ai_how.bench import schedule
from ai_how.bench.drive import Drive
from ai_how.bench.histogram import Histogram
from ai_how.bench.model import Calibration
from ai_how.bench.work import Address, Taken, Work
from ai_how.errors import AiHowError
from ai_how.run import Command, Gate, wait_until
from ai_how.security.certificates import Certificates
from ai_how.spec.bench import BenchRecipe

#: Seconds of each part, and the clients of the one that seeks the ceiling.
_CEILING, _FLOOR, _PACED = 0.5, 0.2, 1.0
_CLIENTS = 32
#: Below this rate the lag is measured at this one: a handful of requests tells no percentile.
_LEAST_RATE = 50.0


class BeyondGenerator(AiHowError):
    """The recipe asks for more than the generator can do; the message has the figure."""


@contextmanager
def reference_server(gate: Gate, *options: str, tls: bool = False) -> Iterator[Address]:
    """A :mod:`ai_how.bench.reference` in a process of its own, on a port of loopback that is free.

    With ``tls`` it has a certificate of its own, for as long as it lives.
    """
    with tempfile.TemporaryDirectory(prefix="ai-how-bench-") as folder:
        output, trust = Path(folder) / "port", None
        if tls:
            own = Certificates(Path(folder), "bench")
            own.renew("reference", ("127.0.0.1",), 1, time.time())
            options, trust = (*options, f"--certificate={own.of('reference')}"), own.ca.read_text()
        command = Command((sys.executable, "-m", "ai_how.bench.reference", *options))
        process = gate.start(command, output)
        try:
            port = wait_until(lambda: _port(output), what="the start of the reference server", timeout=30)
            yield Address("127.0.0.1", port, trust)
        finally:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)


def _port(output: Path) -> int | None:
    text = output.read_text() if output.exists() else ""
    if text and not text.strip().isdigit():
        raise AiHowError("the reference server did not start", detail=text.strip())
    return int(text) if text.endswith("\n") else None


async def calibrate(recipe: BenchRecipe, work: Work, *, refuse: bool = True) -> Calibration:
    """Ceiling, floor and lag by requests of the recipe's own kind, ``work``, asked of a server that answers at once.

    With ``refuse``, raises :class:`BeyondGenerator` when the recipe asks for more than the ceiling: what would be
    measured is the generator.
    """
    fastest = await Drive(work).closed(min(_CLIENTS, work.connections), _CEILING)
    ceiling = sum(one.good for one in fastest.exchanges) / fastest.seconds
    peak = recipe.load.peak
    if refuse:
        refuse_beyond(recipe, ceiling)
    alone = await Drive(work).closed(1, _FLOOR)
    rate = None if peak is None else min(max(peak, min(_LEAST_RATE, ceiling / 4)), ceiling)
    lag = None
    if rate:
        lag = _lag(await Drive(work).open(schedule.constant(rate, max(_PACED, 2 / rate))))
    prompts = recipe.workload.prompts
    return Calibration(
        ceiling=ceiling,
        events_per_second=ceiling * prompts.max_tokens if prompts is not None else None,
        rate=rate,
        lag_p50_ms=lag.percentile(0.5) / 1e6 if lag else None,
        lag_p99_ms=lag.percentile(0.99) / 1e6 if lag else None,
        floor_ms=_floor(alone),
    )


def refuse_beyond(recipe: BenchRecipe, ceiling: float) -> None:
    """Raises :class:`BeyondGenerator` when the recipe asks for more requests a second than ``ceiling``."""
    peak = recipe.load.peak
    if peak is not None and peak > ceiling:
        raise BeyondGenerator(
            f"the recipe asks for {peak:,.0f} requests a second, and the generator can do {ceiling:,.0f} here",
            cause="it was measured just now, against a server that answers at once",
            todo="Ask for less, give it more `processes` or `nodes`, or run it where there is more to spare.",
        )


def _lag(taken: Taken) -> Histogram:
    return Histogram(max(0, round((one.woke - one.due) * 1e9)) for one in taken.exchanges)


def _floor(taken: Taken) -> float:
    times = Histogram(round((one.done - one.sent) * 1e9) for one in taken.exchanges if one.good)
    if not len(times):
        raise AiHowError("the generator had no answer from its own reference server", todo="Run it again.")
    return times.percentile(0.5) / 1e6
