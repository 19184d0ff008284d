"""Passes a request on to the replicas of a model, and the answer of the first that has one to the client."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence

from ai_how.run import Clock
from ai_how.serving.gateway import plan
from ai_how.serving.gateway.dialect import Answering, Asked, Malformed
from ai_how.serving.gateway.exchange import Exchange
from ai_how.serving.gateway.model import Refusal, Replica
from ai_how.serving.gateway.upstream import Answer, Unreachable, Upstream

log = logging.getLogger("ai_how.gateway")

# More would let one request that kills its engine go round and kill them all.
_TRIES = 3
_BUSY_STATUSES = (502, 503)
JSON = "application/json"


class Relay:
    """Knows which replica holds how many requests, and which has failed of late."""

    def __init__(self, upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock
        self._busy: Counter[str] = Counter()
        self._failed: dict[str, float] = {}

    async def close(self) -> None:
        await self._upstream.close()

    async def pass_on(self, exchange: Exchange, asked: Asked, live: Sequence[Replica]) -> None:
        """Ask the replicas in turn until one answers. Raises :class:`Refusal` when none does."""
        order = plan.candidates(live, asked.model, self._busy, self._failed)
        tries = order[:_TRIES]
        for replica in tries:
            nonce = replica.record.nonce
            exchange.job = str(replica.record.job_id)
            self._busy[nonce] += 1
            try:
                async with self._upstream.ask(replica, asked.path, asked.body, asked.method) as answer:
                    await _send(exchange, answer, asked)
                self._failed.pop(nonce, None)
                return
            except Unreachable as error:
                log.warning("request=%s job=%s gave no answer: %s", exchange.request_id, exchange.job, error)
                self._failed[nonce] = self._clock.now()
            finally:
                self._busy[nonce] -= 1
                self._busy += Counter()  # forget those at zero
        raise plan.all_failed(asked.model, len(tries))


async def _send(exchange: Exchange, answer: Answer, asked: Asked) -> None:
    """Send the engine's answer. Raises :class:`Unreachable` only while nothing was sent yet."""
    if answer.status in _BUSY_STATUSES:
        raise Unreachable(f"status {answer.status}")
    if answer.status >= 400:
        raise _engine_refusal(answer.status, await answer.read())
    if asked.stream:
        await _stream(exchange, answer, asked.answering)
        return
    try:
        body = asked.answering.whole(await answer.read())
    except Malformed as error:
        raise _malformed(exchange, error) from error
    await exchange.answer(answer.status, body, JSON if asked.answering.stream_type else answer.content_type)


async def _stream(exchange: Exchange, answer: Answer, answering: Answering) -> None:
    content_type = answering.stream_type or answer.content_type
    no_buffer = (b"x-accel-buffering", b"no")
    begun = False
    try:
        async for chunk in answer.chunks:
            if not begun:
                # Headers wait for the first chunk: until then another replica can still take over.
                await exchange.begin(answer.status, content_type, (no_buffer,))
                begun = True
            if piece := answering.piece(chunk):
                await exchange.write(piece)
        last = answering.end()
    except Unreachable as error:
        if not begun:
            raise
        log.warning("request=%s job=%s broke off: %s", exchange.request_id, exchange.job, error)
        last = answering.broken(
            Refusal(502, "The engine broke off.", "upstream_error", "replica_broke_off", source="engine")
        )
    except Malformed as error:
        last = answering.broken(_malformed(exchange, error))
    if not begun:
        await exchange.begin(answer.status, content_type)
    await exchange.write(last, more=False)


def _malformed(exchange: Exchange, error: Malformed) -> Refusal:
    log.warning("request=%s job=%s answered badly: %s", exchange.request_id, exchange.job, error)
    return Refusal(502, f"The engine sent {error}.", "upstream_error", "replica_malformed", source="engine")


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
