"""Calls on time, from threads, where a service is a library and has no connection to load.

A call has a time at which it is due; when all threads are busy then, it is late, and that time counts: ``due``,
``sent`` and ``done`` are seconds of one monotonic clock from the first call on. Only what lets go of Python's lock
while it works (as FAISS, LanceDB and the clients of databases do) runs in several threads at once.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any


def open_loop(act: Callable[[int], Any], due: Sequence[float], clients: int) -> dict[str, Any]:
    """Call ``act(index)`` when each is due; ``clients`` threads at most."""
    return _all(act, due, clients, len(due), float("inf"))


def closed_loop(act: Callable[[int], Any], clients: int, seconds: float, most: int = 10**9) -> dict[str, Any]:
    """Each of ``clients`` threads calls again when it has its answer."""
    return _all(act, None, clients, most, seconds)


def _all(
    act: Callable[[int], Any], due: Sequence[float] | None, clients: int, most: int, seconds: float
) -> dict[str, Any]:
    numbers = itertools.count()
    rows: list[tuple[int, float, float, float, str]] = []
    start = threading.Barrier(clients + 1)
    base = [0.0]

    def work() -> None:
        # What a thread does once, such as connecting, is in nobody's time; what fails will fail again.
        with contextlib.suppress(Exception):
            act(0)
        start.wait()
        while (index := next(numbers)) < most:
            if due is not None:
                wait = base[0] + due[index] - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
            sent = time.monotonic() - base[0]
            if sent > seconds:
                return
            wanted = sent if due is None else due[index]
            try:
                act(index)
            except Exception as error:  # noqa: BLE001 - whatever a store raises is a failed call, and is counted as that
                rows.append((index, wanted, sent, time.monotonic() - base[0], type(error).__name__))
            else:
                rows.append((index, wanted, sent, time.monotonic() - base[0], ""))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while start.n_waiting < clients:
        time.sleep(0.001)
    base[0] = time.monotonic() + 0.005
    used = time.process_time()
    start.wait()
    for thread in threads:
        thread.join()
    rows.sort(key=lambda row: row[1])
    return {
        "due": [row[1] for row in rows],
        "sent": [row[2] for row in rows],
        "done": [row[3] for row in rows],
        "error": [row[4] for row in rows],
        "cpu_seconds": time.process_time() - used,
    }
