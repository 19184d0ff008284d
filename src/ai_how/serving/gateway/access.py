"""Who may pass: the digests file, read again whenever it changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ai_how.errors import NotFound
from ai_how.security import TokenEntry, find_token, load_tokens


class Access(Protocol):
    """Tells whose token this is."""

    def who(self, token: str) -> str | None: ...


class TokenAccess:
    """Access by the tokens of a digests file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed: tuple[int, int] | None = None
        self._entries: tuple[TokenEntry, ...] = ()

    def who(self, token: str) -> str | None:
        """The name of the token, or None when it opens nothing. Raises :class:`AiHowError` for a bad file."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError as error:
            raise NotFound("the file of the tokens' digests is not there", where=str(self._path)) from error
        # The inode too: the file is replaced whole, and may be so twice within one tick of the clock.
        mark = (found.st_mtime_ns, found.st_ino)
        if mark != self._changed:
            self._entries = load_tokens(self._path).tokens
            self._changed = mark
        entry = find_token(token, self._entries)
        return entry.name if entry else None


def bearer(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The token in ``Authorization: Bearer``, or None. Header names come in lower case."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if scheme.lower() == "bearer" else None
    return None
