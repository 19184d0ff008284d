"""Passes a request on to a replica of a model, and its answer to the client; to another one while nothing was sent."""

from __future__ import annotations

import asyncio
import json
import logging
import time

from ai_how.run import Clock
from ai_how.serving.gateway import plan
from ai_how.serving.gateway.balance import beginnings
from ai_how.serving.gateway.counting import Count, Sieve, usage_of
from ai_how.serving.gateway.dialect import Asked, Malformed
from ai_how.serving.gateway.exchange import Exchange
from ai_how.serving.gateway.model import GatewayConfig, Refusal
from ai_how.serving.gateway.room import Room, Ticket
from ai_how.serving.gateway.routes import Directory
from ai_how.serving.gateway.seats import NEVER, Seat, Served
from ai_how.serving.gateway.upstream import Answer, Unreachable, Upstream

log = logging.getLogger("ai_how.gateway")

# More would let one request that kills its engine go round and kill them all.
_TRIES = 3
_BUSY_STATUSES = (502, 503)
_EVENTS = "text/event-stream"
_NO_BUFFER = (b"x-accel-buffering", b"no")
JSON = "application/json"


class Relay:
    """Finds a replica for each request, if need be after waiting for one, and passes on what it says."""

    def __init__(
        self, config: GatewayConfig, upstream: Upstream, directory: Directory, room: Room, clock: Clock
    ) -> None:
        self._config = config
        self._upstream = upstream
        self._directory = directory
        self._room = room
        self._clock = clock

    async def close(self) -> None:
        await self._upstream.close()

    async def pass_on(
        self, exchange: Exchange, asked: Asked, served: Served, holder: str, count: Count
    ) -> None:
        """Ask replicas until one answers, and send its answer. Raises :class:`Refusal` while nothing was sent."""
        reply = Reply(exchange, asked, count)
        ticket = self._ticket(asked, served, holder)
        try:
            while not await self._try(reply, ticket, served):
                if len(ticket.tried) >= _TRIES:
                    raise plan.all_failed(asked.model, len(ticket.tried))
                served = self._directory.models().get(asked.model, served)
        except Refusal as refusal:
            await reply.refuse(refusal)

    async def wake(self, exchange: Exchange, asked: Asked, served: Served, holder: str) -> None:
        """Wait until the model has a replica. Raises :class:`Refusal`."""
        ticket = self._ticket(asked, served, holder)
        silent = Reply(exchange, asked, Count(0))
        seat = self._room.take(ticket, served) or await self._wait(silent, ticket, breathes=False)
        self._room.release(seat, ticket)

    def _ticket(self, asked: Asked, served: Served, holder: str) -> Ticket:
        # Where there is one replica, nothing is to be chosen by the prompt.
        found = () if len(served.seats) == 1 else beginnings(asked.said())
        return Ticket(asked.model, holder, asked.tokens, found, self._clock.now() + self._config.wait_most)

    async def _try(self, reply: Reply, ticket: Ticket, served: Served) -> bool:
        """Ask one replica. False when it gave no answer, and another may be asked."""
        exchange, asked = reply.exchange, reply.asked
        seat = self._room.take(ticket, served) or await self._wait(reply, ticket, breathes=asked.stream)
        replica = seat.replica
        exchange.job = str(replica.record.job_id)
        try:
            body = asked.body_for(replica.record.engine)
            async with self._upstream.ask(replica, asked.path, body, asked.method) as answer:
                await reply.send(answer)
            seat.failed = NEVER
            return True
        except Unreachable as error:
            log.warning("request=%s job=%s gave no answer: %s", exchange.request_id, exchange.job, error)
            self._room.failed(seat, ticket)
            reply.count.began = False
            return False
        finally:
            self._room.release(seat, ticket)

    async def _wait(self, reply: Reply, ticket: Ticket, *, breathes: bool) -> Seat:
        """A seat, when there is one. Raises :class:`Refusal` when there will be none in time."""
        self._room.enter(ticket)
        began = self._clock.now()
        try:
            while (left := ticket.until - self._clock.now()) > 0:
                given = ticket.given
                assert given is not None
                await asyncio.wait((given,), timeout=min(left, self._config.keep_alive))
                if given.done():
                    ticket.given = None
                    return given.result()
                if breathes:
                    await reply.breathe()
        finally:
            self._room.leave(ticket)
        now, served = self._clock.now(), self._directory.models().get(ticket.model)
        raise plan.waited_in_vain(served, ticket.model, now, now - began)


class Reply:
    """The answer to one request, on its way to the client."""

    def __init__(self, exchange: Exchange, asked: Asked, count: Count) -> None:
        self.exchange = exchange
        self.asked = asked
        self.count = count
        self._begun = False

    async def _begin(self, status: int, content_type: str) -> None:
        if not self._begun:
            self._begun = True
            await self.exchange.begin(status, content_type, (_NO_BUFFER,))

    async def breathe(self) -> None:
        """Show a client that streams that it is not forgotten."""
        answering = self.asked.answering
        await self._begin(200, answering.stream_type or _EVENTS)
        await self.exchange.write(answering.breath)

    async def refuse(self, refusal: Refusal) -> None:
        """Tell what went wrong: as the stream's last event where one has begun, otherwise by raising it."""
        if not self._begun:
            raise refusal
        log.warning("request=%s code=%s after the stream had begun", self.exchange.request_id, refusal.code)
        self.count.failed = True
        await self.exchange.write(self.asked.answering.broken(refusal), more=False)

    async def send(self, answer: Answer) -> None:
        """Send the engine's answer. Raises :class:`Unreachable` only while nothing of an engine's was sent."""
        if answer.status in _BUSY_STATUSES:
            raise Unreachable(f"status {answer.status}")
        if answer.status >= 400:
            raise _engine_refusal(answer.status, await answer.read())
        self.count.began = True
        if self.asked.stream:
            await self._stream(answer)
            return
        answering = self.asked.answering
        found = await answer.read()
        if usage := usage_of(found):
            self.count.take(usage)
        try:
            body = answering.whole(found)
        except Malformed as error:
            raise self._malformed(error) from error
        await self.exchange.answer(
            answer.status, body, JSON if answering.stream_type else answer.content_type
        )

    async def _stream(self, answer: Answer) -> None:
        answering, exchange = self.asked.answering, self.exchange
        sieve = Sieve(self.count, strips=self.asked.strips)
        content_type = answering.stream_type or answer.content_type
        said = False
        try:
            async for chunk in answer.chunks:
                if not said:
                    # Headers wait for the first chunk: until then another replica can still take over.
                    await self._begin(answer.status, content_type)
                    # A sign of life while it waited was no answer yet.
                    exchange.answered = time.perf_counter()
                    said = True
                if piece := answering.piece(sieve.feed(chunk)):
                    await exchange.write(piece)
            last = answering.piece(rest) if (rest := sieve.rest()) else b""
            last += answering.end()
        except Unreachable as error:
            if not said:
                raise
            log.warning("request=%s job=%s broke off: %s", exchange.request_id, exchange.job, error)
            last = self._broken(
                Refusal(502, "The engine broke off.", "upstream_error", "replica_broke_off", source="engine")
            )
        except Malformed as error:
            last = self._broken(self._malformed(error))
        await self._begin(answer.status, content_type)
        await exchange.write(last, more=False)

    def _broken(self, refusal: Refusal) -> bytes:
        self.count.failed = True
        return self.asked.answering.broken(refusal)

    def _malformed(self, error: Malformed) -> Refusal:
        exchange = self.exchange
        self.count.failed = True
        log.warning("request=%s job=%s answered badly: %s", exchange.request_id, exchange.job, error)
        return Refusal(
            502, f"The engine sent {error}.", "upstream_error", "replica_malformed", source="engine"
        )


def _engine_refusal(status: int, body: bytes) -> Refusal:
    """The engine's error in the gateway's envelope, its own words kept."""
    try:
        error = json.loads(body)["error"]
        message = str(error["message"])
        kind = str(error.get("type") or "engine_error")
        code = str(error.get("code") or status)
    except (ValueError, KeyError, TypeError, AttributeError):
        message, kind, code = f"The engine answered with status {status}.", "engine_error", str(status)
    if status in (401, 403):
        # The client's token was good; it is the gateway that the engine does not let in.
        return Refusal(
            502, "The engine refuses the gateway.", "upstream_error", "replica_refuses", source="engine"
        )
    return Refusal(status, message, kind, code, source="engine")
