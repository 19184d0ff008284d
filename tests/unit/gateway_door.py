"""A gateway behind its real door, in the process of the test: a port on loopback, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from ai_how.serving.gateway.app import Gateway
from ai_how.serving.gateway.control import serving
from ai_how.serving.gateway.listening import Tls, bind
from ai_how.serving.gateway.model import GatewayConfig


@asynccontextmanager
async def opened(
    gateway: Gateway,
    *,
    headers: Mapping[bytes, bytes] | None = None,
    patience: float = 20.0,
    tls: Tls | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of ``gateway``, which is served until the end of the block."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    config = GatewayConfig(
        port=port,
        endpoints=Path("none"),
        token_digests=Path("none"),
        client_timeout=patience,
        drain_timeout=0,
    )
    async with (
        serving(gateway, listener, config, tls),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers or {}, trust_env=False, verify=False
        ) as client,
    ):
        yield client
