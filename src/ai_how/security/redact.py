"""Takes secrets out of text before anybody sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "[redacted]"

# Shapes of secrets that are recognised without having been told of them.
_SHAPES = (
    re.compile(r"(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?P<keep>\baihow_)[A-Za-z0-9_-]{8,}"),
    re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+(?=@)", re.IGNORECASE),
)


class Redactor:
    """Replaces the secrets it was told of, if 6 characters or longer, and whatever looks like a secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Know these too. Longest first, so that a secret within a secret leaves no rest."""
        known = {*self._secrets, *(secret for secret in secrets if len(secret) >= 6)}
        self._secrets = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for shape in _SHAPES:
            text = shape.sub(lambda found: found.group("keep") + MASK, text)
        return text
