"""What comes off a connection: HTTP/1.1 responses, and the server-sent events inside them. Pure: bytes in, calls out.

Each byte is looked at once. Only what a load generator has to know is read: the status, where the body ends, whether
the connection stays. Whatever is no HTTP raises :class:`Rubbish`; it is never taken for an answer.
"""

from __future__ import annotations

import re
from typing import Protocol

#: A head, a chunk's size line, or an event longer than this is no honest one.
_LONGEST_HEAD = 65_536
_LONGEST_EVENT = 16_777_216
#: Digits of a length that an answer may have, and the size of a chunk.
_DIGITS = 18
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Rubbish(ValueError):
    """Bytes that are not what the protocol allows."""


class Receiver(Protocol):
    """Who is told what a response says."""

    def on_head(self, status: int, stays: bool) -> None:
        """The status; ``stays`` tells whether the connection can be used again."""
        ...

    def on_body(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...


class ResponseParser:
    """Reads the responses of one connection. One request at a time: nothing here is pipelined."""

    __slots__ = ("_chunked", "_kept", "_left", "_receiver", "_state")

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._kept = b""
        self._left = 0
        self._chunked = False
        self._state = self._head

    def feed(self, data: bytes) -> None:
        """Read on. Raises :class:`Rubbish`."""
        if self._kept:
            data = self._kept + data
            self._kept = b""
        rest: bytes | None = data
        while rest:
            data = rest
            rest = self._state(data)
        if rest is None:
            self._kept = data

    @property
    def between(self) -> bool:
        """Whether the last byte that came ended a response: none of another one is there."""
        return self._state == self._head and not self._kept

    def closed(self) -> bool:
        """The other side closed the connection. Whether that ends a response (one without a length)."""
        if self._state == self._until_close:
            self._finish()
            return True
        return False

    # Each state takes the bytes at hand and returns those that are left, or None when it needs more of them.

    def _head(self, data: bytes) -> bytes | None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _LONGEST_HEAD or not data.startswith(b"HTTP/1."[: len(data)]):
                raise Rubbish(f"no HTTP: {data[:40]!r}")
            return None
        status, length, chunked, stays = read_head(data[:end])
        rest = data[end + 4 :]
        if 100 <= status < 200:
            return rest
        unbounded = length is None and not chunked and status not in (204, 304)
        self._receiver.on_head(status, stays and not unbounded)
        if status in (204, 304):
            self._finish()
        elif chunked:
            self._state = self._chunk_size
        elif unbounded:
            self._state = self._until_close
        elif length:
            self._left, self._chunked, self._state = length, False, self._body
        else:
            self._finish()
        return rest

    def _body(self, data: bytes) -> bytes | None:
        piece = data[: self._left]
        self._left -= len(piece)
        self._receiver.on_body(piece)
        if not self._left:
            if self._chunked:
                self._state = self._chunk_end
            else:
                self._finish()
        return data[len(piece) :]

    def _until_close(self, data: bytes) -> bytes | None:
        self._receiver.on_body(data)
        return b""

    def _chunk_size(self, data: bytes) -> bytes | None:
        end = data.find(b"\r\n")
        if end < 0:
            if len(data) > _LONGEST_HEAD:
                raise Rubbish("a chunk without a size")
            return None
        told = data[:end].partition(b";")[0].strip()
        if not _SIZE.fullmatch(told):
            raise Rubbish(f"no size of a chunk: {data[:20]!r}")
        size = int(told, 16)
        self._left, self._chunked = size, True
        self._state = self._body if size else self._trailer
        return data[end + 2 :]

    def _chunk_end(self, data: bytes) -> bytes | None:
        if len(data) < 2:
            return None
        if data[:2] != b"\r\n":
            raise Rubbish("a chunk longer than its size")
        self._state = self._chunk_size
        return data[2:]

    def _trailer(self, data: bytes) -> bytes | None:
        end = data.find(b"\r\n")
        if end < 0:
            return None
        if end == 0:
            self._finish()
        return data[end + 2 :]

    def _finish(self) -> None:
        self._state = self._head
        self._receiver.on_end()


def read_head(head: bytes) -> tuple[int, int | None, bool, bool]:
    """Status, length (None: not told), chunked, and whether the connection stays open. Raises :class:`Rubbish`."""
    line, _, rest = head.partition(b"\r\n")
    words = line.split(b" ", 2)
    if len(words) < 2 or words[0] not in (b"HTTP/1.1", b"HTTP/1.0") or not _digits(words[1], 3):
        raise Rubbish(f"no HTTP: {line[:40]!r}")
    length: int | None = None
    chunked, stays = False, words[0] == b"HTTP/1.1"
    for field in rest.split(b"\r\n"):
        name, _, value = field.partition(b":")
        name = name.lower()
        if name == b"content-length":
            if not _digits(value.strip(), _DIGITS):
                raise Rubbish(f"no length: {value[:20]!r}")
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = b"chunked" in value.lower()
        elif name == b"connection":
            stays = b"close" not in value.lower() if stays else b"keep-alive" in value.lower()
    return int(words[1]), None if chunked else length, chunked, stays


def _digits(text: bytes, most: int) -> bool:
    return text.isdigit() and len(text) <= most


class EventParser:
    """Splits a body into server-sent events; the data of each, once, whatever pieces it came in."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that is whole by now. Raises :class:`Rubbish` for one without an end."""
        text = self._kept + data if self._kept else data
        if b"\r" in text:
            if text.endswith(b"\r"):
                # Half of a line's end: the other half decides how the line ends.
                self._kept = text
                return []
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, self._kept = text.split(b"\n\n")
        if len(self._kept) > _LONGEST_EVENT:
            raise Rubbish("an event without an end")
        return [found for block in whole if (found := _data(block)) is not None]


def _data(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
