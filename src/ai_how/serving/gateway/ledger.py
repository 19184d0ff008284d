"""What each token has spent: one file, mapped by every worker of the gateway, that outlives them.

A line of 64 bytes a token that has a limit, found by a hash of what names it. A change of a line happens under a lock
of that line's bytes alone, which lasts some microseconds, or some milliseconds when the holder loses its core. A worker
that was stopped in the middle of one holds up nobody: the others wait for it once, a moment, and go on without the lock
until it is free again; at worst a request that two of them count at the same instant is counted once.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
from pathlib import Path
from typing import Literal, NamedTuple

from ai_how.errors import AiHowError
from ai_how.run import Clock
from ai_how.security import Grant, TokenEntry

DAY = 86400
_LINE = struct.Struct("=16sdddqqq")
_WIDTH = _LINE.size
_LINES = 16384
_MAGIC = b"ai-how ledger 1\0"
# Seconds to wait for a lock before going on without it. A line is held for microseconds, but on a machine with more
# work than cores its holder may be off its core for some tens of milliseconds.
_PATIENCE = 0.5
_BETWEEN_TRIES = 50e-6

Limit = Literal["requests", "tokens", "day", "all"]


class Line(NamedTuple):
    """What a token has left in its two buckets at the moment ``at`` (epoch seconds; 0: never used), the tokens of text
    that it has used on ``day`` (days since the epoch), and in all."""

    at: float = 0.0
    requests: float = 0.0
    tokens: float = 0.0
    day: int = 0
    today: int = 0
    in_all: int = 0


class Stop(NamedTuple):
    """The limit that a request meets, and the seconds until it may be made; None when never."""

    limit: Limit
    seconds: float | None


def filled(line: Line, grant: Grant, now: float) -> Line:
    """The line as it is now: buckets hold a minute's worth and fill evenly, a day begins at midnight, UTC. Pure."""
    past = now - line.at if line.at else math.inf
    day = int(now // DAY)
    return Line(
        at=now,
        requests=_level(line.requests, grant.requests_per_minute, past),
        tokens=_level(line.tokens, grant.tokens_per_minute, past),
        day=day,
        today=line.today if line.day == day else 0,
        in_all=line.in_all,
    )


def _level(left: float, per_minute: int | None, past: float) -> float:
    if per_minute is None:
        return 0.0
    # A clock that was set back fills nothing.
    return min(float(per_minute), left + max(past, 0.0) * per_minute / 60)


def ask(line: Line, grant: Grant, now: float) -> tuple[Line, Stop | None]:
    """Take one request. Pure."""
    line = filled(line, grant, now)
    if grant.requests_per_minute is None:
        return line, None
    if line.requests < 1:
        return line, Stop("requests", (1 - line.requests) * 60 / grant.requests_per_minute)
    return line._replace(requests=line.requests - 1), None


def hold(line: Line, grant: Grant, tokens: int, now: float) -> tuple[Line, Stop | None]:
    """Take as many tokens of text as a request may need, by an estimate. Pure.

    One that needs more than a minute's worth passes when the bucket is full; what is missing is owed.
    """
    line = filled(line, grant, now)
    if grant.tokens_in_all is not None and line.in_all >= grant.tokens_in_all:
        return line, Stop("all", None)
    if grant.tokens_per_day is not None and line.today >= grant.tokens_per_day:
        return line, Stop("day", (line.day + 1) * DAY - now)
    if grant.tokens_per_minute is not None:
        missing = min(tokens, grant.tokens_per_minute) - line.tokens
        if missing > 0:
            return line, Stop("tokens", missing * 60 / grant.tokens_per_minute)
    return _taken(line, tokens), None


def settle(line: Line, grant: Grant, held: int, used: int, now: float) -> Line:
    """Put right what was held by an estimate, now that the engine has said what it was. Pure."""
    return _taken(filled(line, grant, now), used - held)


def _taken(line: Line, tokens: int) -> Line:
    return line._replace(
        tokens=line.tokens - tokens, today=max(line.today + tokens, 0), in_all=max(line.in_all + tokens, 0)
    )


class Ledger:
    """The ledger's file; without a path it is kept in this process alone, and forgotten with it."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, int] = {}
        # Lines whose lock was waited for in vain: they are asked for it again, but not waited for.
        self._hung: set[int] = set()
        self._file = _open(path) if path else None
        size = _LINES * _WIDTH
        self._map = mmap.mmap(self._file if self._file is not None else -1, size)
        if self._map[: len(_MAGIC)] == bytes(len(_MAGIC)):
            self._map[: len(_MAGIC)] = _MAGIC
        elif self._map[: len(_MAGIC)] != _MAGIC:
            raise AiHowError(
                "the gateway's ledger is of another version",
                where=str(path),
                todo="Remove the file: what the tokens have used of their budgets is counted from none again.",
            )

    def ask(self, entry: TokenEntry) -> Stop | None:
        """Count one request of this token; the limit that it meets, or None."""
        if entry.requests_per_minute is None:
            return None
        return self._change(entry, 0, None)

    def hold(self, entry: TokenEntry, tokens: int) -> Stop | None:
        """Hold the tokens of text that a request may need; the limit that it meets, or None."""
        if not entry.counts_tokens:
            return None
        return self._change(entry, tokens, None, holds=True)

    def settle(self, entry: TokenEntry, held: int, used: int) -> None:
        """Say what a request that was held has used."""
        if entry.counts_tokens and held != used:
            self._change(entry, held, used)

    def spent(self, entry: TokenEntry) -> Line:
        """What this token has spent up to now."""
        return filled(self._read(self._place(entry.line)), entry, self._clock.now())

    def close(self) -> None:
        self._map.flush()
        self._map.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _change(self, entry: TokenEntry, held: int, used: int | None, *, holds: bool = False) -> Stop | None:
        place, now = self._place(entry.line), self._clock.now()
        locked = self._lock(place)
        try:
            before, stop = self._read(place), None
            if used is not None:
                line = settle(before, entry, held, used, now)
            elif holds:
                line, stop = hold(before, entry, held, now)
            else:
                line, stop = ask(before, entry, now)
            _LINE.pack_into(self._map, place, bytes.fromhex(entry.line), *line)
        finally:
            if locked:
                self._unlock(place)
        return stop

    def _read(self, place: int) -> Line:
        return Line(*_LINE.unpack_from(self._map, place)[1:])

    def _place(self, name: str) -> int:
        """Where a token's line begins; it is made when there is none. Raises :class:`AiHowError` when all are taken."""
        if (known := self._known.get(name)) is not None:
            return known
        key = bytes.fromhex(name)
        first = int.from_bytes(key[:8], "big")
        locked = self._lock(0)
        try:
            for step in range(_LINES - 1):
                place = (1 + (first + step) % (_LINES - 1)) * _WIDTH
                found = self._map[place : place + 16]
                if found == bytes(16):
                    self._map[place : place + 16] = key
                if found in (key, bytes(16)):
                    self._known[name] = place
                    return place
        finally:
            if locked:
                self._unlock(0)
        raise AiHowError(
            f"the gateway's ledger is full: it has room for {_LINES - 1} tokens with limits",
            todo="End the gateway and remove the ledger's file: budgets are counted from none again.",
        )

    def _lock(self, place: int) -> bool:
        if self._file is None:
            return False
        until = self._clock.monotonic() + (0 if place in self._hung else _PATIENCE)
        while not _try(self._file, place):
            if self._clock.monotonic() >= until:
                self._hung.add(place)
                return False
            self._clock.sleep(_BETWEEN_TRIES)
        self._hung.discard(place)
        return True

    def _unlock(self, place: int) -> None:
        if self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _WIDTH, place)


def _try(file: int, place: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _WIDTH, place)
    except (BlockingIOError, PermissionError):  # what POSIX allows for a lock that another holds
        return False
    return True


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Room that is not written takes none on the disk.
        os.ftruncate(file, _LINES * _WIDTH)
    except OSError as error:
        raise AiHowError(
            f"the gateway's ledger cannot be opened: {error.strerror}", where=str(path)
        ) from error
    return file
