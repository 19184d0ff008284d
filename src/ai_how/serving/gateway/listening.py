"""The gateway's sockets and its TLS."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import ssl
from pathlib import Path

from ai_how.errors import AiHowError
from ai_how.serving.gateway.model import TlsFiles

log = logging.getLogger("ai_how.gateway")

#: Connections that may wait to be taken.
BACKLOG = 4096


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket; ``shared``: one of several for the same port.

    Raises :class:`AiHowError` when the port is taken or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    listener.setblocking(False)
    return listener


def bind_all(host: str, port: int, count: int) -> list[socket.socket]:
    """A listening socket for each of ``count`` workers. Raises like :func:`bind`."""
    if count == 1:
        return [bind(host, port)]
    # Another gateway's sockets could be shared, too: whether the port is free is asked without that.
    bind(host, port).close()
    return [bind(host, port, shared=True) for _ in range(count)]


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


def many_files() -> None:
    """Allow as many open files as the system lets us: each request takes two, and a thousand may be waiting."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Tls:
    """The context of every connection. A certificate that was renewed is taken up without a restart."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._mark = self._look()
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            raise AiHowError(
                "the gateway's certificate cannot be used",
                where=str(files.certificate),
                cause=str(error),
                todo="`ai-how up` makes another one when it is removed.",
            ) from error

    def renew(self) -> None:
        """Load the certificate again when its file has changed. If it cannot be used, the old one stays."""
        mark = self._look()
        if mark == self._mark or mark is None:
            return
        self._mark = mark
        try:
            self._load()
            log.info("the certificate was renewed")
        except (OSError, ssl.SSLError) as error:
            log.error("the renewed certificate cannot be used: %s", error)

    def _load(self) -> None:
        self.context.load_cert_chain(self._files.certificate, self._files.key)

    def _look(self) -> tuple[int, int] | None:
        return _mark(self._files.certificate)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
