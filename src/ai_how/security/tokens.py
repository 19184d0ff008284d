"""Tokens that open the gateway. Only their SHA-256 digests are kept.

A token has 256 random bits, so a plain digest is enough: there is nothing to guess, and no salt or slow hash such
as scrypt, which protects words that people choose, would add to that anything but time to every request. The file
is JSON, mode 0600:

    {"version": "1.0", "tokens": [{"name": "admin", "sha256": "…64 hex digits…", "created": 1700000000.0}]}
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ai_how.errors import AiHowError, NotFound, UsageError
from ai_how.run import Clock, FileLock, SystemClock
from ai_how.security.private import read_private, write_private

PREFIX = "aihow_"
#: A model's name, in which ``*``, ``?`` and ``[...]`` stand for more than one.
ModelPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*?\[][A-Za-z0-9._:/@+*?!\[\]-]{0,127}$")]


class Grant(BaseModel):
    """What a token opens: for whom, which models (none named: all), until when, how often, and how much.

    ``expires`` is in seconds since the epoch. Tokens of text are those read and those written, added up: a minute
    (filled evenly), a day (from midnight to midnight, UTC), and in all. A field that is not known may be a limit,
    so it is refused, not passed over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: str = Field(default="", pattern=r"^[^\x00-\x1f\x7f]{0,128}$")
    models: tuple[ModelPattern, ...] = ()
    expires: float | None = None
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_day: int | None = Field(default=None, ge=1)
    tokens_in_all: int | None = Field(default=None, ge=1)

    @property
    def counts_tokens(self) -> bool:
        """Whether it is limited by tokens of text at all."""
        return (self.tokens_per_minute or self.tokens_per_day or self.tokens_in_all) is not None

    def opens(self, model: str) -> bool:
        """Whether this model may be asked."""
        return not self.models or any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)

    def expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires


class TokenEntry(Grant):
    """One token as the gateway knows it: a name to log, a digest to compare, and what it opens.

    ``ledger`` names its line in the gateway's ledger; a token that replaces another keeps the other's, so that a
    budget is not filled by making the token anew. Empty, the digest names it.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: float = 0.0
    ledger: str = Field(default="", pattern=r"^([0-9a-f]{32})?$")

    @property
    def holder(self) -> str:
        """Whose it is: the owner, or where none was named the token itself."""
        return self.owner or self.name

    @property
    def line(self) -> str:
        """What names its line in the ledger: 32 hexadecimal digits."""
        return self.ledger or self.sha256[:32]

    def as_json(self) -> dict[str, object]:
        """Everything but the digest and the ledger's line."""
        return self.model_dump(exclude={"sha256", "ledger"})


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


def create_token(
    path: Path, name: str, grant: Grant | None = None, *, replace: bool = False, clock: Clock | None = None
) -> str:
    """Make a token for ``name``, add its digest to the file, and return the token: it is shown this once.

    With ``replace`` a name that exists is given the new token, and the old one opens nothing from then on;
    without, that is a :class:`UsageError`.
    """
    token = PREFIX + new_secret()
    entry = _entry(name, token, grant or Grant(), (clock or SystemClock()).now())

    def add(tokens: tuple[TokenEntry, ...]) -> tuple[TokenEntry, ...]:
        former = next((old for old in tokens if old.name == name), None)
        if former and not replace:
            raise UsageError(
                f"there is a token called {name!r} already",
                todo="`--replace` gives it a new token, and ends the old one.",
            )
        line = former.line if former else secrets.token_hex(16)
        return (*(old for old in tokens if old != former), entry.model_copy(update={"ledger": line}))

    _change(path, "token create", add)
    return token


def revoke_token(path: Path, name: str) -> TokenEntry:
    """Take a token out of the file, and return what it was. Raises :class:`NotFound`, with the names there are."""
    gone: list[TokenEntry] = []

    def take(tokens: tuple[TokenEntry, ...]) -> tuple[TokenEntry, ...]:
        gone.extend(one for one in tokens if one.name == name)
        if not gone:
            names = ", ".join(one.name for one in tokens) or "none"
            raise NotFound(f"there is no token called {name!r}", todo=f"There are: {names}.")
        return tuple(one for one in tokens if one.name != name)

    _change(path, "token revoke", take)
    return gone[0]


def _change(
    path: Path, command: str, change: Callable[[tuple[TokenEntry, ...]], tuple[TokenEntry, ...]]
) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), command):
        content = TokenFile(tokens=change(load_tokens(path).tokens if path.exists() else ()))
        write_private(path, json.dumps(content.model_dump(), indent=2) + "\n")


def _entry(name: str, token: str, grant: Grant, created: float) -> TokenEntry:
    try:
        return TokenEntry(name=name, sha256=digest(token), created=created, **grant.model_dump())
    except ValidationError as error:
        raise AiHowError(
            f"{name!r} cannot name a token",
            todo="Use up to 64 letters, digits, dots, dashes and underscores, a letter or a digit first.",
        ) from error
