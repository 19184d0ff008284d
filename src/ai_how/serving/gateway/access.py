"""Who may pass: the files of digests, read again whenever they change; and how often."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ai_how.errors import NotFound
from ai_how.run import Clock
from ai_how.security import TokenEntry, find_token, load_tokens

Mark = tuple[int, int]


class Access(Protocol):
    """Tells whose token this is."""

    def who(self, token: str) -> TokenEntry | None: ...


class TokenAccess:
    """Access by the tokens of the site's digests file, and of another one that may be missing."""

    def __init__(self, path: Path, more: Path | None = None) -> None:
        self._path = path
        self._more = more
        self._known: dict[Path, tuple[Mark, tuple[TokenEntry, ...]]] = {}

    def who(self, token: str) -> TokenEntry | None:
        """The token's entry, or None when it opens nothing. Raises :class:`AiHowError` for a bad file."""
        entries = self._entries(self._path)
        if entries is None:
            raise NotFound("the file of the tokens' digests is not there", where=str(self._path))
        more = self._entries(self._more) if self._more else None
        return find_token(token, (*entries, *(more or ())))

    def _entries(self, path: Path) -> tuple[TokenEntry, ...] | None:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        # The inode too: the file is replaced whole, and may be so twice within one tick of the clock.
        mark = (found.st_mtime_ns, found.st_ino)
        known = self._known.get(path)
        if known is None or known[0] != mark:
            known = self._known[path] = (mark, load_tokens(path).tokens)
        return known[1]


@dataclass(frozen=True)
class Bucket:
    """How many requests a token has left at a moment, by the clock's monotonic seconds."""

    left: float
    at: float


def spend(bucket: Bucket | None, per_minute: int, now: float) -> tuple[Bucket, float]:
    """Take one request from a bucket that holds a minute's worth and fills evenly: the token bucket.

    Returns the bucket, and the seconds to wait: 0 when the request may pass. A new bucket is full. Pure.
    """
    if bucket is None:
        left = float(per_minute)
    else:
        left = min(float(per_minute), bucket.left + (now - bucket.at) * per_minute / 60)
    if left < 1:
        return Bucket(left, now), (1 - left) * 60 / per_minute
    return Bucket(left - 1, now), 0.0


class Rates:
    """Holds each token to its rate, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def wait(self, entry: TokenEntry) -> float:
        """Seconds until this token may ask again; 0 when it may now, which this call counts."""
        if entry.requests_per_minute is None:
            return 0.0
        bucket = self._buckets.get(entry.sha256)
        self._buckets[entry.sha256], seconds = spend(
            bucket, entry.requests_per_minute, self._clock.monotonic()
        )
        return seconds


def bearer(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The token in ``Authorization: Bearer``, or None. Header names come in lower case."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if scheme.lower() == "bearer" else None
    return None
