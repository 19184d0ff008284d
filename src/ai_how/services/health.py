"""Asking a service how it is. The only part of this room that acts."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import urllib.parse

from ai_how.errors import AiHowError
from ai_how.run import Gate
from ai_how.services.model import CommandProbe, HeartbeatProbe, HttpProbe, PortProbe, Probe, SocketProbe


def probe(gate: Gate, how: Probe) -> str | None:
    """None when healthy; otherwise what was wrong, in a few words."""
    match how:
        case CommandProbe():
            return _command(gate, how)
        case HttpProbe():
            return _http(how)
        case PortProbe():
            return _connect(socket.AF_INET, ("127.0.0.1", how.port))
        case SocketProbe():
            return _connect(socket.AF_UNIX, str(how.path))
        case HeartbeatProbe():
            return _heartbeat(how)


def _command(gate: Gate, how: CommandProbe) -> str | None:
    try:
        done = gate.run(how.command, check=False)
    except AiHowError as error:
        return error.message
    if not done.ok:
        return (done.tail(1) or f"exit status {done.returncode}").strip()
    return None if how.expect in done.stdout else f"it answered: {done.tail(1).strip()}"


def _http(how: HttpProbe) -> str | None:
    parts = urllib.parse.urlsplit(how.url)
    # Not urllib.request: that one would ask the user's proxy for a loopback address.
    host = parts.hostname or ""
    try:
        if parts.scheme == "https":
            trusted = ssl.create_default_context(cafile=how.ca)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, parts.port, timeout=10, context=trusted
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=10)
    except OSError as error:
        return f"{how.ca}: {error.strerror or error}"
    try:
        headers = {"Content-Type": "application/json"} if how.body else {}
        connection.request("POST" if how.body else "GET", parts.path, body=how.body, headers=headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{how.url}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"{how.url} answered with status {status}"


def _connect(family: socket.AddressFamily, address: tuple[str, int] | str) -> str | None:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        try:
            client.connect(address)
        except OSError as error:
            return f"{address}: {error.strerror or error}"
    return None


def _heartbeat(how: HeartbeatProbe) -> str | None:
    try:
        silent = time.time() - how.path.stat().st_mtime
    except OSError as error:
        return f"{how.path}: {error.strerror or error}"
    return None if silent <= how.seconds else f"{how.path} was written {silent:.0f} s ago"
