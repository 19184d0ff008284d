"""Tokens that open the gateway. Only their SHA-256 digests are kept.

A token has 256 random bits, so a plain digest is enough: there is nothing to guess, and no salt or slow hash
would add to that. The file is JSON, mode 0600:

    {"version": "1.0", "tokens": [{"name": "admin", "sha256": "…64 hex digits…", "created": 1700000000.0}]}
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai_how.errors import AiHowError
from ai_how.run import Clock, FileLock, SystemClock
from ai_how.security.private import read_private, write_private

PREFIX = "aihow_"


class TokenEntry(BaseModel):
    """One token as the gateway knows it: a name to log, and a digest to compare."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: float = 0.0


class TokenFile(BaseModel):
    """Everything in the digests file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["1.0"] = "1.0"
    tokens: tuple[TokenEntry, ...] = ()


def new_secret() -> str:
    """256 random bits, in letters that are safe in a header, a file name and a shell."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """The SHA-256 digest of a token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def find_token(token: str, entries: Iterable[TokenEntry]) -> TokenEntry | None:
    """The entry of this token, or None. Every entry is compared, each in constant time."""
    shown = digest(token)
    found = None
    for entry in entries:
        if hmac.compare_digest(shown, entry.sha256):
            found = entry
    return found


def load_tokens(path: Path) -> TokenFile:
    """Read the digests file. Raises :class:`AiHowError` when it is missing, open to others, or malformed."""
    text = read_private(path)
    try:
        return TokenFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise AiHowError(
            f"the digests file cannot be used: {place}: {first['msg']}",
            where=str(path),
            todo="Write it with `ai-how token create`, never by hand.",
        ) from error


def create_token(path: Path, name: str, *, clock: Clock | None = None) -> str:
    """Make a token for ``name``, add its digest to the file, and return the token: it is shown this once.

    A name that exists is given the new token; the old one opens nothing from then on.
    """
    token = PREFIX + new_secret()
    entry = _entry(name, token, (clock or SystemClock()).now())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), "token create"):
        kept = [old for old in load_tokens(path).tokens if old.name != name] if path.exists() else []
        content = TokenFile(tokens=(*kept, entry))
        write_private(path, json.dumps(content.model_dump(), indent=2) + "\n")
    return token


def _entry(name: str, token: str, created: float) -> TokenEntry:
    try:
        return TokenEntry(name=name, sha256=digest(token), created=created)
    except ValidationError as error:
        raise AiHowError(
            f"{name!r} cannot name a token",
            todo="Use up to 64 letters, digits, dots, dashes and underscores, a letter or a digit first.",
        ) from error
