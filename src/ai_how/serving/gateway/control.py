"""Runs the gateway: its configuration, its port, its server."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from ai_how.errors import AiHowError, NotFound
from ai_how.security import load_tokens
from ai_how.serving.gateway.accesslog import Writer
from ai_how.serving.gateway.app import Gateway, create_app
from ai_how.serving.gateway.door import Door
from ai_how.serving.gateway.listening import BACKLOG, Tls, bind_all, many_files
from ai_how.serving.gateway.metrics import Metrics
from ai_how.serving.gateway.model import GatewayConfig
from ai_how.serving.gateway.workers import Workers

log = logging.getLogger("ai_how.gateway")

# Seconds: between looks at what is no request's affair; that a client may take to agree on TLS.
_CHORES = 1.0
_HANDSHAKE = 20.0
DIGESTS_VARIABLE = "AI_HOW_GATEWAY_TOKEN_DIGESTS"


def load_config(path: Path) -> GatewayConfig:
    """Read the configuration file; ``AI_HOW_GATEWAY_TOKEN_DIGESTS`` names another digests file.

    Raises :class:`NotFound`, or :class:`AiHowError` with every mistake in the file at once.
    """
    try:
        config = GatewayConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound("the gateway's configuration file is not there", where=str(path)) from error
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(str(step) for step in mistake['loc']) or 'the file'}: {mistake['msg']}"
            for mistake in error.errors(include_url=False)
        ]
        raise AiHowError(
            "the gateway's configuration cannot be used",
            where=str(path),
            detail="\n".join(mistakes),
            todo="`ai-how up` writes it anew.",
        ) from error
    digests = os.environ.get(DIGESTS_VARIABLE)
    return config.model_copy(update={"token_digests": Path(digests)}) if digests else config


def run_gateway(config: GatewayConfig) -> None:
    """Serve until SIGTERM. Raises :class:`AiHowError` when it cannot begin."""
    # Better to fail now than at the first request.
    load_tokens(config.token_digests)
    if config.tokens and config.tokens.exists():
        load_tokens(config.tokens)
    tls = Tls(config.tls) if config.tls else None
    many_files()
    listeners = bind_all(config.host, config.port, config.workers)
    log.info("listening on %s://%s:%d", "https" if tls else "http", config.host, config.port)
    if config.workers == 1:
        _work(config, listeners[0], tls, Metrics(), None)
        return
    with tempfile.TemporaryDirectory(prefix="ai-how-gateway-") as folder:

        def work(slot: int, listener: socket.socket, parent: int) -> None:
            _work(config, listener, tls, Metrics(Path(folder), slot), parent)

        Workers(listeners, work, config.drain_timeout).run()


def _work(
    config: GatewayConfig, listener: socket.socket, tls: Tls | None, metrics: Metrics, parent: int | None
) -> None:
    import uvloop

    uvloop.run(_serve(config, listener, tls, metrics, parent))


async def _serve(
    config: GatewayConfig, listener: socket.socket, tls: Tls | None, metrics: Metrics, parent: int | None
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent is not None:
        # Nobody ever writes: readable means that the parent is gone.
        loop.add_reader(parent, stop.set)
    lines = Writer(sys.stderr.fileno())
    gateway = create_app(config, access_log=lines, metrics=metrics)
    gateway.start()
    # What was made up to now stays: there is no need to look through it for garbage again and again.
    gc.freeze()
    async with serving(gateway, listener, config, tls):
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHORES):
                    await stop.wait()
            metrics.save()
            if tls:
                tls.renew()
        if parent is not None:
            loop.remove_reader(parent)
    await gateway.close()
    metrics.save()
    lines.flush()


@asynccontextmanager
async def serving(
    gateway: Gateway, listener: socket.socket, config: GatewayConfig, tls: Tls | None = None
) -> AsyncIterator[Door]:
    """Answer what comes to ``listener``; at the end of the block what is being answered may end."""
    door = Door(gateway.serve, config.client_timeout)
    server = await asyncio.get_running_loop().create_server(
        door.protocol,
        sock=listener,
        backlog=BACKLOG,
        ssl=tls.context if tls else None,
        ssl_handshake_timeout=min(config.client_timeout, _HANDSHAKE) if tls else None,
    )
    try:
        yield door
    finally:
        server.close()
        if cut := await door.close(config.drain_timeout):
            log.warning("%d connections were cut off", cut)
