"""Runs the gateway: its configuration, its port, its server."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import ValidationError

from ai_how.errors import AiHowError, NotFound
from ai_how.security import load_tokens
from ai_how.serving.gateway.accesslog import Writer
from ai_how.serving.gateway.app import Gateway, create_app
from ai_how.serving.gateway.door import Door
from ai_how.serving.gateway.model import GatewayConfig

log = logging.getLogger("ai_how.gateway")

#: Connections that may wait to be taken.
BACKLOG = 4096
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


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises :class:`AiHowError` when the port is taken or may not be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    listener.setblocking(False)
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> AiHowError:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return AiHowError(
            f"port {port} is taken",
            where=where,
            cause="Another process listens there, perhaps a gateway of another site.",
            todo=f"`ss -ltnp 'sport = :{port}'` shows which; end it, or give the gateway another port.",
        )
    return AiHowError(
        f"the gateway cannot listen on {where}: {error.strerror or error}",
        where=where,
        cause="The address is not this machine's, or ports under 1024 are for root." if port < 1024 else None,
        todo="Give the gateway another host or port.",
    )


def run_gateway(config: GatewayConfig) -> None:
    """Serve until SIGTERM. Raises :class:`AiHowError` when it cannot begin."""
    import uvloop

    # Better to fail now than at the first request.
    load_tokens(config.token_digests)
    if config.tokens and config.tokens.exists():
        load_tokens(config.tokens)
    listener = bind(config.host, config.port)
    log.info("listening on http://%s:%d", config.host, config.port)
    uvloop.run(_serve(config, listener))


async def _serve(config: GatewayConfig, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lines = Writer(sys.stderr.fileno())
    gateway = create_app(config, access_log=lines)
    gateway.start()
    async with serving(gateway, listener, config):
        await stop.wait()
    await gateway.close()
    lines.flush()


@asynccontextmanager
async def serving(gateway: Gateway, listener: socket.socket, config: GatewayConfig) -> AsyncIterator[Door]:
    """Answer what comes to ``listener``; at the end of the block what is being answered may end."""
    door = Door(gateway.serve, config.client_timeout)
    server = await asyncio.get_running_loop().create_server(door.protocol, sock=listener, backlog=BACKLOG)
    try:
        yield door
    finally:
        server.close()
        if cut := await door.close(config.drain_timeout):
            log.warning("%d connections were cut off", cut)
