"""Who may pass: the files of digests, read again whenever they change."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from ai_how.errors import NotFound
from ai_how.security import TokenEntry, digest, load_tokens

Mark = tuple[int, int]
# Seconds: under load a look at the files is shared by the requests of so short a time. It is over before anybody who
# has changed a token can have sent a request.
_LOOK = 0.001


class Access(Protocol):
    """Tells whose token this is."""

    def who(self, token: str) -> TokenEntry | None: ...


class TokenAccess:
    """Access by the tokens of the site's digests file, and of another one that may be missing."""

    def __init__(self, path: Path, more: Path | None = None) -> None:
        self._path = path
        self._more = more
        self._known: dict[Path, tuple[Mark, dict[str, TokenEntry]]] = {}
        self._looked: dict[Path, float] = {}

    def who(self, token: str) -> TokenEntry | None:
        """The token's entry, or None when it opens nothing. Raises :class:`AiHowError` for a bad file."""
        entries = self._entries(self._path)
        if entries is None:
            raise NotFound("the file of the tokens' digests is not there", where=str(self._path))
        # By its digest: how long that takes tells of digests at most, which nobody can choose.
        shown = digest(token)
        found = entries.get(shown)
        if found is None and self._more and (more := self._entries(self._more)):
            found = more.get(shown)
        return found

    def _entries(self, path: Path) -> dict[str, TokenEntry] | None:
        now = time.perf_counter()
        known = self._known.get(path)
        if known is not None and now - self._looked[path] < _LOOK:
            return known[1]
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        # The inode too: the file is replaced whole, and may be so twice within one tick of the clock.
        mark = (found.st_mtime_ns, found.st_ino)
        if known is None or known[0] != mark:
            entries = {entry.sha256: entry for entry in load_tokens(path).tokens}
            known = self._known[path] = (mark, entries)
        self._looked[path] = now
        return known[1]


def bearer(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The token in ``Authorization: Bearer``, or None. Header names come in lower case."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if scheme.lower() == "bearer" else None
    return None
