"""What a client of a site's gateway needs: its address, its token, and the certificate it is known by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ai_how.client import Patience
from ai_how.errors import UsageError

URL_VARIABLE, TOKEN_VARIABLE = "AI_HOW_URL", "AI_HOW_TOKEN"
#: Seconds that a client goes on asking while its tunnel is made anew.
RECONNECT = 60.0


@dataclass(frozen=True)
class Door:
    """A gateway that can be asked from here. ``close`` ends the tunnel, where there is one.

    ``ca`` has the certificate that a gateway with TLS is known by, ``bundle`` that and the system's own, for programs.
    """

    url: str
    token: str = field(repr=False)
    ca: Path | None = None
    bundle: Path | None = None
    via: str | None = None
    close: Callable[[], None] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What OpenAI's, Ollama's and our own clients read. Holds the token."""
        certificates = self.bundle or self.ca
        trusted = {"SSL_CERT_FILE": str(certificates)} if certificates else {}
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": self.token,
            "OLLAMA_HOST": self.url,
            "OLLAMA_API_KEY": self.token,
            URL_VARIABLE: self.url,
            TOKEN_VARIABLE: self.token,
            "NO_PROXY": "127.0.0.1,localhost,::1",
            **trusted,
        }

    def patience(self, asked: Patience | None) -> Patience:
        """Behind a tunnel a gateway out of reach is asked again while the tunnel comes back."""
        return asked or Patience(reconnect=RECONNECT if self.via else 0.0)


def needed_token(token: str | None, url: str) -> str:
    """The token. Raises :class:`UsageError` without one."""
    if token:
        return token
    raise UsageError(
        "a token is needed",
        where=url,
        todo=f"Put it into the variable {TOKEN_VARIABLE}; `ai-how token create NAME` makes one.",
    )
