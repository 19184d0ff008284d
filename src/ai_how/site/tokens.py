"""The tokens that open a site's gateway, beside its owner's own. The gateway sees a change at its next request."""

from __future__ import annotations

from dataclasses import dataclass

from ai_how.errors import UsageError
from ai_how.security import Grant, TokenEntry, create_token, load_tokens, revoke_token
from ai_how.services.gateway import OWNER
from ai_how.serving.gateway.ledger import Ledger, Line
from ai_how.site.control import Site
from ai_how.spec.operations import Tokens

DAY = 86400.0


@dataclass(frozen=True)
class Held:
    """A token and the tokens of text that it has used: today (UTC), and in all; 0 where nothing counts them."""

    entry: TokenEntry
    today: int = 0
    in_all: int = 0

    def as_json(self) -> dict[str, object]:
        """The facts for ``--json``."""
        return {**self.entry.as_json(), "used_today": self.today, "used_in_all": self.in_all}


def limits(
    tokens: Tokens, days: float | None, requests: int | None, now: float
) -> tuple[float | None, int | None]:
    """When a token expires (epoch seconds) and its requests a minute. Pure.

    What was not asked for (None) is as the file says; 0 asks for no limit.
    """
    days = tokens.lifetime_days if days is None else days
    requests = tokens.requests_per_minute if requests is None else requests
    return now + days * DAY if days else None, requests or None


def defaults(site: Site, days: float | None, requests: int | None) -> tuple[float | None, int | None]:
    """:func:`limits` with what this site's file says of tokens."""
    return limits(site.file.spec.security.tokens, days, requests, site.clock.now())


def create(site: Site, name: str, grant: Grant, *, replace: bool = False) -> tuple[str, TokenEntry]:
    """Make a token, and return it with what it opens: nobody can show it again.

    Raises :class:`UsageError` for a site that was never up, and for a name that is taken.
    """
    _refuse(site, name)
    token = create_token(site.layout.tokens, name, grant, replace=replace, clock=site.clock)
    return token, next(one for one in everyone(site) if one.name == name)


def revoke(site: Site, name: str) -> TokenEntry:
    """End a token. Raises :class:`NotFound`, with the names there are."""
    _refuse(site, name)
    return revoke_token(site.layout.tokens, name)


def everyone(site: Site) -> tuple[TokenEntry, ...]:
    """Every token but the owner's own, in the order in which they were made."""
    return load_tokens(site.layout.tokens).tokens if site.layout.tokens.exists() else ()


def held(site: Site) -> tuple[Held, ...]:
    """Every token but the owner's own, with what it has used of its budgets."""
    entries = everyone(site)
    path = site.layout.ledger
    if not path.exists():
        return tuple(Held(entry) for entry in entries)
    ledger = Ledger(path, site.clock)
    try:
        spent = [ledger.spent(one) if one.counts_tokens else Line() for one in entries]
    finally:
        ledger.close()
    return tuple(Held(one, line.today, line.in_all) for one, line in zip(entries, spent, strict=True))


def _refuse(site: Site, name: str) -> None:
    if not site.exists:
        raise UsageError(f"the site '{site.file.spec.name}' was never up", todo="`ai-how up` brings it up.")
    if name == OWNER:
        raise UsageError(
            f"{OWNER!r} is the name of the site's own token",
            where=str(site.layout.secrets / "gateway-token"),
            todo="Remove that file and run `ai-how up`: a new token takes its place.",
        )
