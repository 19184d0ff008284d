"""The load core as a client: our schedules, our connections, one process or several."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import uvloop

from ai_how.bench import schedule
from ai_how.bench.calibrate import calibrate, reference_server
from ai_how.bench.drive import Drive
from ai_how.bench.interfaces import Heard, Measured, Place
from ai_how.bench.model import Calibration
from ai_how.bench.work import Taken, Work, first_of, fresh_lot
from ai_how.spec.bench import BenchRecipe

#: Why a run ended early, when somebody wanted it so.
INTERRUPTED = "interrupted (Ctrl-C, or an end from outside)"

Worker = Callable[[BenchRecipe, Place], Work]
"""What is asked, by the recipe: :meth:`ai_how.bench.interfaces.Loaded.work`."""


class LoadClient:
    """A target driven by the load core."""

    def __init__(self, recipe: BenchRecipe, place: Place, work: Worker) -> None:
        self._recipe, self._place, self._make = recipe, place, work
        self._work = work(recipe, place)
        self._drive: Drive | None = None

    def calibrate(self) -> Calibration | None:
        """Raises :class:`AiHowError` with the figure when the recipe asks for more than the ceiling."""
        if self._work.carrier is not None:
            return None
        with reference_server(self._place.gate, tls=self._work.address.trust is not None) as reference:
            work = self._make(self._recipe, replace(self._place, address=reference, token=None))
            return uvloop.run(calibrate(self._recipe, work))

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        """Raises :class:`OSError` when the target takes no connection at first."""
        load = self._recipe.load
        intended = None if load.arrivals == "closed" else schedule.of_load(load, number)

        async def drive() -> Taken:
            self._drive = Drive(self._of(number), heard)
            with self._interruptible():
                if intended is None:
                    return await self._drive.closed(load.clients, load.seconds)
                return await self._drive.open(intended)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            taken = runner.run(drive())
        return measured(taken, None if intended is None else len(intended))

    def close(self) -> None:
        """It holds nothing between runs."""

    def _of(self, number: int) -> Work:
        """The work of one repetition: its requests are none that any run before has sent."""
        work, first = self._work, first_of(fresh_lot(), number)
        return replace(work, request=lambda index: work.request(first + index))

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C ends the run under way, and what it has measured is kept."""
        loop = asyncio.get_running_loop()
        installed = False
        with suppress(ValueError, RuntimeError):  # not in the main thread: nobody can press Ctrl-C there
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
            installed = True
        try:
            yield
        finally:
            if installed:
                loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        if self._drive is not None:
            self._drive.stop(INTERRUPTED)


def measured(taken: Taken, intended: int | None) -> Measured:
    """What a drive took down, as what every client hands over."""
    return Measured(
        seconds=taken.seconds,
        exchanges=taken.exchanges,
        intended=intended,
        busy=taken.busy,
        stopped=taken.stopped,
    )
