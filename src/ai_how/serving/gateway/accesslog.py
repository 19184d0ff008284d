"""A line of JSON for each request: who asked which model, how it went, how long it took.

Nothing of what was asked or answered is in it, and no text of the client's but the name of a model that exists.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable

from ai_how.serving.gateway.exchange import Exchange

#: Takes a line without its end.
Sink = Callable[[str], None]


def line(exchange: Exchange, path: str, now: float, ended: float) -> str:
    """The line of one exchange. ``path`` is one that the gateway has, or ``unknown``; ``ended`` is by its own clock.

    Written by hand: every value is a number, or one that was checked to hold no character that JSON would escape.
    """
    first = f"{(exchange.answered - exchange.began) * 1000:.1f}" if exchange.answered else "null"
    return (
        f'{{"time": {now:.3f}, "request": "{exchange.request_id}", "status": {exchange.status}, '
        f'"method": "{exchange.method}", "path": "{path}", "user": "{exchange.user}", "model": "{exchange.model}", '
        f'"job": "{exchange.job}", "ms": {(ended - exchange.began) * 1000:.1f}, "first_ms": {first}}}'
    )


def logged(text: str) -> None:
    """A sink that hands lines to ``logging``, for a gateway inside another program."""
    logging.getLogger("ai_how.gateway").info("%s", text)


class Writer:
    """A sink that writes to a file descriptor, all lines of one turn of the loop at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[str] = []

    def __call__(self, text: str) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(text)

    def flush(self) -> None:
        """Write what has come."""
        lines, self._lines = self._lines, []
        rest = "".join(f"{one}\n" for one in lines).encode()
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            return  # a log that cannot be written must not stop the requests


class JsonLines(logging.Formatter):
    """Everything else that the gateway has to say, in lines of the same kind."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)
