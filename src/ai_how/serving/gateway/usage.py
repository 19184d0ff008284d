"""Who has used which model, how much: added up in memory, written down twice a second by a thread of its own.

One row for each hour, token, owner, model and job, in an SQLite database that all workers of the gateway share. What
was counted is at most half a second away from the disk's cache, and all of it is there after an orderly end.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ai_how.run import Clock
from ai_how.security import TokenEntry
from ai_how.serving.gateway.counting import Count

log = logging.getLogger("ai_how.gateway")

HOUR = 3600
_PAUSE = 0.5
_BUSY_SECONDS = 5.0
_TABLE = """
create table if not exists usage (
    hour integer not null, token text not null, owner text not null, model text not null, job text not null,
    requests integer not null, failed integer not null, estimated integer not null,
    prompt integer not null, completion integer not null, cached integer not null,
    primary key (hour, token, owner, model, job)
) without rowid
"""
_ADD = """
insert into usage values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set
    requests = requests + excluded.requests, failed = failed + excluded.failed,
    estimated = estimated + excluded.estimated, prompt = prompt + excluded.prompt,
    completion = completion + excluded.completion, cached = cached + excluded.cached
"""


class Row(NamedTuple):
    """What one token used of one model at one job within one hour (``hour``: its beginning, epoch seconds).

    ``estimated`` counts the requests whose tokens the engine did not tell, ``failed`` those that came to no good end;
    both are among ``requests``. ``cached`` is the part of ``prompt`` that came from the engine's cache.
    """

    hour: int
    token: str
    owner: str
    model: str
    job: str
    requests: int
    failed: int
    estimated: int
    prompt: int
    completion: int
    cached: int


class UsageLog:
    """Takes counts from the event loop and writes them down from a thread. Without a path it does nothing."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._sums: dict[tuple[int, str, str, str, str], list[int]] = {}
        self._turn = threading.Lock()
        self._new = threading.Event()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._database: sqlite3.Connection | None = None

    def add(self, entry: TokenEntry, model: str, job: str, count: Count) -> None:
        """Count one request. It costs a few additions; a request that reached no replica is not counted."""
        if self._path is None or job == "-":
            return
        hour = int(self._clock.now() // HOUR) * HOUR
        estimated = count.began and not count.told
        key = (hour, entry.name, entry.holder, model, job)
        self._sum(key, (1, count.failed, estimated, count.prompt, count.completion, count.cached))
        if not self._new.is_set():
            self._new.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
                self._thread.start()

    def _sum(self, key: tuple[int, str, str, str, str], values: Sequence[int]) -> None:
        # Held for an addition, or for taking the table away: never while anything is written.
        with self._turn:
            sums = self._sums.setdefault(key, [0] * len(values))
            for index, value in enumerate(values):
                sums[index] += value

    def close(self) -> None:
        """Write down all that was counted; returns when it is done."""
        self._end.set()
        self._new.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._write()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _run(self) -> None:
        while not self._end.is_set():
            self._new.wait()
            self._end.wait(_PAUSE)
            self._new.clear()
            self._write()

    def _write(self) -> None:
        with self._turn:
            sums, self._sums = self._sums, {}
        rows = [Row(*key, *values) for key, values in sums.items()]
        if not rows:
            return
        try:
            self._put(rows)
        except sqlite3.Error as error:
            log.error("usage of %d rows is kept until the database can be written: %s", len(rows), error)
            for row in rows:
                self._sum(row[:5], row[5:])
            self._new.set()

    def _put(self, rows: Iterable[Row]) -> None:
        assert self._path is not None
        if self._database is None:
            self._database = open_usage(self._path)
        with self._database:
            self._database.executemany(_ADD, rows)


def open_usage(path: Path) -> sqlite3.Connection:
    """The database, made when it is not there, for its owner alone. Raises :class:`sqlite3.Error`."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    # Written ahead, so that readers and the other workers wait for nobody; what is lost with the power, not with a
    # process, is the last moment's.
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = normal")
    with database:
        database.execute(_TABLE)
    return database


def read_usage(path: Path, since: float, until: float) -> tuple[Row, ...]:
    """The rows of the hours that begin in a stretch of time (epoch seconds). Raises :class:`sqlite3.Error`."""
    if not path.exists():
        return ()
    database = open_usage(path)
    try:
        found = database.execute(
            "select * from usage where hour >= ? and hour < ? order by hour", (since, until)
        )
        return tuple(Row(*row) for row in found)
    finally:
        database.close()
