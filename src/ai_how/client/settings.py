"""Where a client asks, with what, and how long it waits; shared by the synchronous and the asynchronous one."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ai_how.client import parse
from ai_how.client.model import NoAnswer
from ai_how.client.plan import Patience
from ai_how.client.render import Ask
from ai_how.errors import AiHowError, TimedOut

#: A connection that there was has been closed by the other side.
_DROPPED = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
#: Told what is waited for, and for how many seconds until the next try.
OnWait = Callable[[AiHowError, float], None]


def _silent(error: AiHowError, seconds: float) -> None:
    return


@dataclass(frozen=True)
class Settings:
    """``url`` is the gateway's, such as ``http://127.0.0.1:8080``; ``timeout`` the longest silence in seconds.

    ``ca`` is the certificate that a gateway with TLS is checked by, where the system's own do not know it.
    """

    url: str
    token: str = field(repr=False)
    timeout: float = 600.0
    patience: Patience = Patience()
    ca: Path | None = None
    on_wait: OnWait = _silent

    @classmethod
    def of(
        cls,
        url: str,
        token: str,
        timeout: float,
        patience: Patience | None,
        ca: Path | None,
        on_wait: OnWait | None,
    ) -> Settings:
        """What the clients' arguments mean."""
        bare = url.rstrip("/").removesuffix("/v1")
        return cls(bare, token, timeout, patience or Patience(), ca, on_wait or _silent)

    def http(self) -> dict[str, Any]:
        """What httpx's clients are made with."""
        return {
            "base_url": self.url,
            "headers": {"authorization": f"Bearer {self.token}"},
            "trust_env": False,  # the gateway is on loopback or behind a tunnel: no proxy leads there
            "timeout": httpx.Timeout(self.timeout, connect=5.0),
            # Nothing to verify without TLS, and no need to read the system's certificates then.
            "verify": self._verify(),
        }

    def _verify(self) -> ssl.SSLContext | bool:
        if not self.url.startswith("https:"):
            return False
        return ssl.create_default_context(cafile=self.ca) if self.ca else True

    def refusal(self, response: httpx.Response, body: bytes) -> AiHowError:
        return parse.refusal(response.status_code, body, self.url, response.headers)

    def no_answer(self, error: httpx.TransportError, *, begun: bool = False) -> AiHowError:
        if isinstance(error, httpx.ReadTimeout):
            return TimedOut(
                f"nothing was heard for {self.timeout:g} s",
                where=self.url,
                todo="`ai-how ps` shows how the replicas are.",
            )
        # Of httpx's errors the text tells no header and no body: the token cannot be in it.
        dropped = isinstance(error, _DROPPED)
        return NoAnswer(self.url, f"{type(error).__name__}: {error}", begun=begun, dropped=dropped)


def request(http: httpx.Client | httpx.AsyncClient, ask: Ask) -> httpx.Request:
    return http.build_request(ask.method, ask.path, json=ask.body)
