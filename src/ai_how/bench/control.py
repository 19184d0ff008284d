"""Carries a bench recipe out: calibrate, run, repeat; whatever happens, what was measured is kept."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import uvloop

from ai_how import __version__
from ai_how.bench import schedule
from ai_how.bench.calibrate import calibrate, reference_server
from ai_how.bench.drive import Drive
from ai_how.bench.environment import capture
from ai_how.bench.figures import figures, record
from ai_how.bench.model import VERSION, Calibration, Result, RunRecord
from ai_how.bench.priority import first_in_line
from ai_how.bench.target import work_of
from ai_how.bench.work import Address, Progress, Taken, Work
from ai_how.errors import CouldNotTell
from ai_how.run import Clock, Gate, SystemClock
from ai_how.spec.bench import BenchRecipe

#: Seconds for the first word with the target.
_KNOCK = 5.0
#: Why a result is partial, when somebody wanted it so.
INTERRUPTED = "interrupted from the keyboard"


class Bench:
    """One bench run. ``heard`` is told how each repetition goes, several times a second; ``say`` what happens."""

    def __init__(
        self,
        recipe: BenchRecipe,
        address: Address,
        token: str | None,
        gate: Gate,
        *,
        clock: Clock | None = None,
        heard: Callable[[int, Progress], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._recipe, self._address, self._gate = recipe, address, gate
        self._work = work_of(recipe, address, token)
        self._clock = clock or SystemClock()
        self._heard = heard
        self._say = say or (lambda _: None)
        self._runs: list[RunRecord] = []
        self._partial: str | None = None
        self._drive: Drive | None = None

    def run(self) -> Result:
        """Measure, and hand back all that was measured.

        Raises :class:`CouldNotTell` when the target takes no connection to begin with, and :class:`AiHowError` when
        the recipe asks for more than the generator can do. A target that goes down later, and Ctrl-C, end it early:
        the result then says so in ``partial``.
        """
        started, begun = self._clock.now(), self._clock.monotonic()
        environment = capture(self._gate)
        with first_in_line() as first, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._knock())
            self._say("calibrating the generator")
            with reference_server(self._gate) as reference:
                calibration = runner.run(calibrate(self._recipe, reference))
            self._told(calibration)
            runner.run(self._repeat())
        return Result(
            version=VERSION,
            kind="bench-result",
            ai_how=__version__,
            started=started,
            seconds=self._clock.monotonic() - begun,
            recipe=self._recipe,
            address=str(self._address),
            environment=environment | {"real_time": first},
            calibration=calibration,
            runs=tuple(self._runs),
            figures=figures(self._recipe, calibration, self._runs),
            partial=self._partial,
        )

    def _told(self, calibration: Calibration) -> None:
        late = calibration.lag_p99_ms
        self._say(
            f"the generator can do {calibration.ceiling:,.0f} requests a second here"
            + (f", and sends them up to {late:.2f} ms late (p99)" if late is not None else "")
        )

    async def _knock(self) -> None:
        try:
            async with asyncio.timeout(_KNOCK):
                _, writer = await asyncio.open_connection(*self._address)
            writer.close()
        except OSError as error:
            raise CouldNotTell(
                "the target takes no connection",
                where=str(self._address),
                cause=str(error) or type(error).__name__,
                todo="`ai-how status` and `ai-how ps` show what of the site runs.",
            ) from error

    async def _repeat(self) -> None:
        with self._interruptible():
            for number in range(1, self._recipe.repetitions + 1):
                await self._once(number)
                if self._partial:
                    return

    async def _once(self, number: int) -> None:
        load = self._recipe.load
        intended = None if load.arrivals == "closed" else schedule.of_load(load, number)
        started = self._clock.now()
        self._drive = Drive(self._of(number), self._hearing(number))
        try:
            taken: Taken = (
                await self._drive.closed(load.clients, load.seconds)
                if intended is None
                else await self._drive.open(intended)
            )
        except OSError as error:
            self._partial = f"the target took no connection before run {number}: {error}"
            return
        count = None if intended is None else len(intended)
        self._runs.append(record(self._recipe, number, started, count, taken))
        if taken.stopped:
            self._partial = f"run {number} ended early: {taken.stopped}"

    def _of(self, number: int) -> Work:
        """The work of one repetition: its requests are none that an earlier one has sent."""
        work, first = self._work, number * 1_000_000_000
        return replace(work, request=lambda index: work.request(first + index))

    def _hearing(self, number: int) -> Callable[[Progress], None] | None:
        heard = self._heard
        return None if heard is None else lambda progress: heard(number, progress)

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
        self._partial = INTERRUPTED
        if self._drive is not None:
            self._drive.stop(INTERRUPTED)
