"""The heads of requests and of answers: what one says, and how one is written. Pure but for the date."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import httptools

from ai_how.serving.gateway.model import Refusal

Header = tuple[bytes, bytes]
#: Bytes and lines of a request's head.
HEAD_BYTES = 32 * 1024
HEAD_LINES = 100
_VERSIONS = ("1.1", "1.0")


class Said(NamedTuple):
    """What a request's head says of its body, and why the request cannot be taken.

    ``length`` is in bytes; None without one, or in chunks. ``expects``: the client waits to be asked for the body.
    """

    length: int | None = None
    expects: bool = False
    fault: Refusal | None = None


def said(version: str, target: bytes, headers: Sequence[Header]) -> Said:
    """Read a head whose lines the parser has found well formed; names are in lower case."""
    hosts = 0
    size = len(target)
    length, expects, fault = None, False, None
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"content-length":
            length = int(value)
        elif name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            fault = _unsupported(501, "Send the body as it is, or in chunks.")
        elif name == b"expect":
            expects = True
            if value.lower() != b"100-continue":
                fault = _unsupported(417, "Expect nothing but 100-continue.")
    if size > HEAD_BYTES or len(headers) > HEAD_LINES:
        fault = head_too_large()
    elif version not in _VERSIONS:
        fault = _unsupported(505, "Speak HTTP/1.1.")
    elif hosts > 1 or (version == "1.1" and not hosts):
        fault = bad("Send one header 'Host'.")
    return Said(length, expects, fault)


def path_of(target: bytes) -> str | None:
    """The path of a request's target, or None when it has none. A query is left out, whatever it says."""
    if not target.startswith(b"/"):
        try:
            target = httptools.parse_url(target).path or b""
        except httptools.HttpParserInvalidURLError:
            return None
        if not target.startswith(b"/"):
            return None
    path = target.partition(b"?")[0]
    try:
        return (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8")
    except UnicodeDecodeError:
        return None


def bad(message: str) -> Refusal:
    """What came is not a request."""
    return Refusal(400, message, "invalid_request_error", "malformed_request")


def head_too_large() -> Refusal:
    """What came is no request of a size that anybody needs."""
    return Refusal(
        431,
        f"The head of a request may have {HEAD_LINES} lines and {HEAD_BYTES} bytes.",
        "invalid_request_error",
        "too_large",
    )


def _unsupported(status: int, message: str) -> Refusal:
    return Refusal(status, message, "invalid_request_error", "not_supported")


_REASONS = {status.value: status.phrase for status in HTTPStatus}
#: Beginnings of heads by status and content type: few, unless an engine makes up types.
_BEGINNINGS: dict[tuple[int, str], bytes] = {}
_MOST_BEGINNINGS = 256
_date: tuple[int, bytes] = (0, b"")


def _now() -> bytes:
    """The line with the date, made anew each second."""
    global _date
    second = int(time.time())
    if second != _date[0]:
        _date = (second, f"date: {formatdate(second, usegmt=True)}\r\n".encode())
    return _date[1]


def head_of(
    status: int,
    content_type: str,
    request_id: str,
    extra: tuple[Header, ...] = (),
    length: int | None = None,
    *,
    chunked: bool = False,
    close: bool = False,
) -> bytes:
    """The head of an answer."""
    begin = _BEGINNINGS.get((status, content_type))
    if begin is None:
        if len(_BEGINNINGS) >= _MOST_BEGINNINGS:
            _BEGINNINGS.clear()
        begin = _BEGINNINGS[status, content_type] = (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\ncontent-type: {content_type}\r\n"
            "cache-control: no-store\r\n"
        ).encode("latin-1")
    parts = [begin, _now(), b"x-request-id: ", request_id.encode(), b"\r\n"]
    for name, value in extra:
        parts += (name, b": ", value, b"\r\n")
    if chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
    elif length is not None:
        parts.append(b"content-length: %d\r\n" % length)
    parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    return b"".join(parts)
