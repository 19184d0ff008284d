"""The tokens that open a site's gateway, beside its owner's own. The gateway sees a change at its next request."""

from __future__ import annotations

from ai_how.errors import UsageError
from ai_how.security import Grant, TokenEntry, create_token, load_tokens, revoke_token
from ai_how.services.gateway import OWNER
from ai_how.site.control import Site


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


def _refuse(site: Site, name: str) -> None:
    if not site.exists:
        raise UsageError(f"the site '{site.file.spec.name}' was never up", todo="`ai-how up` brings it up.")
    if name == OWNER:
        raise UsageError(
            f"{OWNER!r} is the name of the site's own token",
            where=str(site.layout.secrets / "gateway-token"),
            todo="Remove that file and run `ai-how up`: a new token takes its place.",
        )
