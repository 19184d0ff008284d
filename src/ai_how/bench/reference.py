"""A server whose answers are known beforehand: what a generator is calibrated and proved against.

Without options it answers at once: what is measured then is the generator. With ``--service`` each request takes that
long, however many come at once. With ``--stall`` and ``--period`` it stands still at the beginning of each period: what
comes meanwhile is answered in order from the stall's end on, ``--drain`` times as fast as it came. A request that comes
at ``x`` into the period thus waits ``stall - x * (1 - 1 / drain)`` seconds, or not at all where that is below 0. Evenly
arriving requests wait evenly between 0 and ``stall`` in a share of ``stall / (1 - 1 / drain) / period`` of all.

A POST whose body asks for a stream is answered in OpenAI's shape, or in Ollama's where it has ``num_predict``: so many
events, ``--token`` apart. One that has ``input`` is answered with a vector for each text.

It prints its port, takes connections on loopback alone, and ends by itself when nobody has been connected for a while.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import re
import resource
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import cast

from ai_how.bench.timer import Timer

#: Seconds without any connection after which it ends.
_ALONE = 20.0
_PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_TOKENS = re.compile(rb'"(?:max_tokens|num_predict)": ?(\d+)')
#: What stands between two texts of a list, as our own requests have it.
_NEXT_TEXT = b'", "'
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Manner:
    """How it answers; all in seconds. ``drain`` is how many times faster than it came a backlog is worked off."""

    service: float = 0.0
    stall: float = 0.0
    period: float = 1.0
    drain: float = 2.0
    token: float = 0.0

    def delay(self, at: float) -> float:
        """From the arrival at ``at``, counted from the beginning of any period, to the answer."""
        return self.service + max(0.0, self.stall - at % self.period * (1 - 1 / self.drain))

    def percentile(self, share: float) -> float:
        """The same as a distribution over evenly arriving requests."""
        late = min(1.0, self.stall / (1 - 1 / self.drain) / self.period)
        return self.service + (self.stall * max(0.0, share - (1 - late)) / late if late else 0.0)


class Agenda:
    """What is to be done when, by one exact timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._timer = Timer(loop, self._work)

    def add(self, at: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), act))
        if self._due[0][0] == at:
            self._timer.set(at)

    def _work(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()
        if self._due:
            self._timer.set(self._due[0][0])


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self, manner: Manner, agenda: Agenda, there: set[Server]) -> None:
        self._manner, self._agenda, self._there = manner, agenda, there
        self._kept = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do and are none of them.
        self._transport = cast(asyncio.Transport, transport)
        self._there.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._there.discard(self)

    def data_received(self, data: bytes) -> None:
        data = self._kept + data
        end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data[: end + 2]) if end >= 0 else None
        whole = end + 4 + (int(length[1]) if length else 0)
        if end < 0 or len(data) < whole:
            self._kept = data
            return
        self._kept = data[whole:]
        self._answer(data[end + 4 : whole])

    def _answer(self, body: bytes) -> None:
        wanted = _TOKENS.search(body) if b'"stream"' in body else None
        now = time.monotonic()
        delay = self._manner.delay(now)
        if wanted is None:
            asked = body.partition(b'"input"')[2]
            self._later(now + delay, _vectors(1 + asked.count(_NEXT_TEXT)) if asked else _PLAIN, delay)
            return
        number = int(wanted[1])
        event, end = (_line, _last_line) if b'"num_predict"' in body else (_event, _end)
        if not delay and not self._manner.token:
            self._write(_HEAD + b"".join(map(event, range(number))) + end(number))
            return
        for index in range(number):
            text = (_HEAD if index == 0 else b"") + event(index)
            last = index == number - 1
            at = now + delay + index * self._manner.token
            self._later(at, text + (end(number) if last else b""), at - now)

    def _later(self, at: float, text: bytes, delay: float) -> None:
        if delay <= 0:
            self._write(text)
        else:
            self._agenda.add(at, lambda: self._write(text))

    def _write(self, text: bytes) -> None:
        if self._transport is not None:
            self._transport.write(text)


@lru_cache(maxsize=64)
def _vectors(number: int) -> bytes:
    vectors = [{"index": index, "embedding": [0.5]} for index in range(number)]
    body = json.dumps({"data": vectors, "usage": {"prompt_tokens": number}}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


@lru_cache(maxsize=4096)
def _event(index: int) -> bytes:
    facts = {"choices": [{"index": 0, "delta": {"content": f" word{index}"}, "finish_reason": None}]}
    return _chunk(b"data: " + json.dumps(facts).encode() + b"\n\n")


@lru_cache
def _end(number: int) -> bytes:
    facts = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": number}}
    return _chunk(b"data: " + json.dumps(facts).encode() + b"\n\ndata: [DONE]\n\n") + b"0\r\n\r\n"


@lru_cache(maxsize=4096)
def _line(index: int) -> bytes:
    """The same in Ollama's shape."""
    facts = {"message": {"role": "assistant", "content": f" word{index}"}, "done": False}
    return _chunk(json.dumps(facts).encode() + b"\n")


@lru_cache
def _last_line(number: int) -> bytes:
    facts = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
             "prompt_eval_count": 1, "eval_count": number}  # fmt: skip
    return _chunk(json.dumps(facts).encode() + b"\n") + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(manner: Manner, port: int = 0, certificate: str | None = None) -> None:
    """Answer until nobody has been connected for a while; prints the port first. With TLS by a certificate's file."""
    loop = asyncio.get_running_loop()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    there: set[Server] = set()
    agenda = Agenda(loop)
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await loop.create_server(
        lambda: Server(manner, agenda, there), "127.0.0.1", port, backlog=4096, ssl=context
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    alone = 0.0
    while alone < _ALONE:
        await asyncio.sleep(0.5)
        alone = 0.0 if there else alone + 0.5
    server.close()


def main() -> int:
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", help="a file with a key and its certificate: speak TLS")
    for name in ("service", "stall", "period", "drain", "token"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Manner, name))
    asked = vars(parser.parse_args())
    port, certificate = asked.pop("port"), asked.pop("certificate")
    uvloop.run(serve(Manner(**asked), port, certificate))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
