"""Requests that are calls of a library, such as a vector store's query: carried by threads, timed like all others."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ai_how.bench.exchange import Exchange
from ai_how.bench.work import Carrier, Ended

Call = Callable[[bytes], None]
"""One request: the bytes that :attr:`Work.request` made. What it raises is counted by its type and is no answer."""


class Calls:
    """Up to ``most`` calls at once, each in a thread with a ``Call`` of its own (a connection, say), from ``make``."""

    def __init__(self, make: Callable[[], Call], most: int, ended: Ended) -> None:
        self._make, self._ended = make, ended
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="bench-call")
        self._free: list[Call] = []
        self._left = most
        self._waiting: deque[tuple[Exchange, bytes]] = deque()

    async def warm(self, count: int) -> None:
        """Make so many callers beforehand. Raises what making one raises."""
        wanted = min(count, self._left)
        self._left -= wanted
        self._free += await asyncio.gather(
            *(self._loop.run_in_executor(self._threads, self._make) for _ in range(wanted))
        )

    def submit(self, exchange: Exchange, request: bytes) -> None:
        if self._free:
            self._start(self._free.pop(), exchange, request)
        elif self._left > 0:
            self._left -= 1
            self._start(None, exchange, request)
        else:
            exchange.queued = True
            self._waiting.append((exchange, request))

    def drop_waiting(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        self._waiting.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, call: Call | None, exchange: Exchange, request: bytes) -> None:
        self._loop.run_in_executor(self._threads, self._carried, call, exchange, request)

    def _carried(self, call: Call | None, exchange: Exchange, request: bytes) -> None:
        try:
            call = call or self._make()
            exchange.sent = time.monotonic()
            call(request)
            exchange.first = exchange.done = time.monotonic()
        except Exception as error:  # noqa: BLE001 - a library's own errors are a kind of failed request
            exchange.error = type(error).__name__
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._over, call, exchange)

    def _over(self, call: Call | None, exchange: Exchange) -> None:
        if call is not None and self._waiting:
            self._start(call, *self._waiting.popleft())
        elif call is not None:
            self._free.append(call)
        else:
            self._left += 1
        self._ended(exchange)


def carried_by(make: Callable[[], Call], most: int) -> Callable[[Ended], Carrier]:
    """The ``carrier`` of a :class:`Work` whose requests are calls."""
    return lambda ended: Calls(make, most, ended)
