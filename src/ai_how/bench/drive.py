"""The load itself: an open loop that keeps its schedule whatever the target does, and a closed loop that does not."""

from __future__ import annotations

import asyncio
import gc
import time
from array import array
from collections.abc import Callable

from ai_how.bench.connection import Pool
from ai_how.bench.exchange import Exchange
from ai_how.bench.timer import Timer
from ai_how.bench.work import Carrier, Progress, Taken, Work

#: Requests sent at a stretch before answers are looked at.
_BATCH = 32
#: Seconds before the first request is due.
_LEAD = 0.02
#: The target counts as down after so many failures in a row over so many seconds.
_FAILURES = 5
_SILENCE = 3.0
#: Seconds between two reports to whoever watches, and that a stopped run waits for what is under way.
_TELL = 0.25
_GRACE = 0.5
#: Seconds that a client of a closed loop waits after a failure, so as not to spin.
_BREATH = 0.05
_FAILED_TO_REACH = (
    "connection refused",
    "TLS failed",
    "connection timed out",
    "closed by the target",
    "timed out",
)


class Drive:
    """One run. :meth:`stop` may be called at any time; what was measured until then is kept."""

    def __init__(self, work: Work, heard: Callable[[Progress], None] | None = None) -> None:
        self._work = work
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._pool: Carrier = (
            work.carrier(self._ended)
            if work.carrier is not None
            else Pool(work.address, work.connections, work.timeout, self._ended)
        )
        self._all: list[Exchange] = []
        self._progress = Progress(None)
        self._left = 0
        self._more = True
        self._failures = 0
        self._last_good = time.monotonic()
        self._why: str | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._again: Callable[[Exchange], None] | None = None

    async def open(self, schedule: array[float], at: float | None = None) -> Taken:
        """Send each request when it is due, from the instant ``at`` on; without one from when all is ready.

        Raises :class:`OSError` when the target takes no connection at first.
        """
        # All requests are made beforehand: making one while another is due would make that one late.
        requests = [self._work.request(index) for index in range(len(schedule))]
        await self._pool.warm(self._work.beforehand)
        self._progress.intended = len(schedule)
        _collect()
        base = time.monotonic() + _LEAD if at is None else at
        following = 0

        def due() -> None:
            nonlocal following
            for _ in range(_BATCH):
                if following == len(schedule) or not self._more:
                    self._more = False
                    self._settle()
                    return
                due_at, now = base + schedule[following], time.monotonic()
                if due_at > now:
                    break
                self._submit(due_at, now, requests[following])
                following += 1
            timer.set(base + schedule[following] if following < len(schedule) else now)

        timer = Timer(self._loop, due)
        timer.set(base)
        try:
            return await self._run(base, None)
        finally:
            timer.close()

    async def closed(self, clients: int, seconds: float, at: float | None = None) -> Taken:
        """``clients`` that each send the next request when they have their answer. Raises like :meth:`open`."""
        await self._pool.warm(min(clients, self._work.beforehand))
        _collect()
        if at is not None:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
        base = time.monotonic()
        end = base + seconds

        def next_one(before: Exchange | None = None) -> None:
            now = time.monotonic()
            if now < end and self._more:
                self._submit(now, now, self._work.request(len(self._all)))
            else:
                self._settle_closed()

        def again(exchange: Exchange) -> None:
            if exchange.error:
                self._loop.call_later(_BREATH, next_one)
            else:
                self._loop.call_soon(next_one)

        self._again = again
        for _ in range(clients):
            next_one()
        return await self._run(base, end)

    def stop(self, why: str) -> None:
        """End early, for that reason; what is under way gets a moment to come back."""
        if self._more or self._left:
            self._more = False
            self._why = why
            self._pool.drop_waiting()
            self._loop.call_later(_GRACE, self._finish)

    async def _run(self, base: float, end: float | None) -> Taken:
        cpu = time.process_time()
        ticker = self._loop.call_later(_TELL, self._tick, base)
        if end is not None:
            self._loop.call_at(self._loop.time() + end - time.monotonic(), self._settle_closed)
        try:
            await self._over
        finally:
            gc.enable()
            ticker.cancel()
            self._pool.close()
        seconds = max(time.monotonic() - base, 1e-9)
        exchanges = [one for one in self._all if one.done or one.error]
        return Taken(exchanges, base, seconds, (time.process_time() - cpu) / seconds, self._why)

    def _submit(self, due: float, now: float, request: bytes) -> None:
        exchange = self._work.exchange(due)
        exchange.woke = now
        self._all.append(exchange)
        self._left += 1
        self._pool.submit(exchange, request)

    def _ended(self, exchange: Exchange) -> None:
        self._left -= 1
        if exchange.good:
            self._progress.good += 1
        else:
            self._progress.failed += 1
        if exchange.error in _FAILED_TO_REACH:
            self._failures += 1
            silent = time.monotonic() - self._last_good
            if self._failures >= _FAILURES and silent > _SILENCE and self._more:
                self.stop(f"the target did not answer any more for {silent:.1f} s")
        else:
            self._failures = 0
            self._last_good = time.monotonic()
        if self._again is not None:
            self._again(exchange)
        self._settle()

    def _settle_closed(self) -> None:
        self._more = False
        self._settle()

    def _settle(self) -> None:
        if not self._more and not self._left:
            self._finish()

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _tick(self, base: float) -> None:
        if self._heard is not None and not self._over.done():
            self._progress.sent = len(self._all)
            self._progress.seconds = time.monotonic() - base
            self._heard(self._progress)
            self._loop.call_later(_TELL, self._tick, base)


def _collect() -> None:
    """Collect garbage now and not while it is measured: a pause of ours would be read as one of the target's."""
    gc.collect()
    gc.disable()
