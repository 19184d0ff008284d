"""The gateway's ASGI application: authentication, routing, passing on."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import Counter

from ai_how.errors import AiHowError
from ai_how.run import Clock, SystemClock
from ai_how.serving.gateway import plan
from ai_how.serving.gateway.access import Access, TokenAccess, bearer
from ai_how.serving.gateway.endpoints import EndpointFolder, EndpointSource
from ai_how.serving.gateway.exchange import ClientGone, Exchange, Message, Receive, Send
from ai_how.serving.gateway.model import GatewayConfig, Refusal, Replica
from ai_how.serving.gateway.upstream import Answer, Unreachable, Upstream

log = logging.getLogger("ai_how.gateway")

# More would let one request that kills its engine go round and kill them all.
_TRIES = 3
_BUSY_STATUSES = (502, 503)
# What nginx calls "client closed request": for the log only, nobody receives it.
_CLIENT_GONE = 499
_ROUTES = {"/healthz": "GET", "/v1/models": "GET", "/v1/chat/completions": "POST"}


class Gateway:
    """An ASGI application. Everything it touches is passed in, so that a test can hold it."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        access: Access,
        endpoints: EndpointSource,
        upstream: Upstream,
        clock: Clock,
    ) -> None:
        self._config = config
        self._access = access
        self._endpoints = endpoints
        self._upstream = upstream
        self._clock = clock
        self._busy: Counter[str] = Counter()
        self._failed: dict[str, float] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(Exchange(scope, receive, send, secrets.token_hex(8)))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                await self._upstream.close()
                return

    async def _serve(self, exchange: Exchange) -> None:
        began = time.perf_counter()
        try:
            await self._route(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except ClientGone:
            exchange.status = _CLIENT_GONE
        except AiHowError as error:
            # The gateway's own files are at fault: the client learns that, the log learns which.
            log.error("request=%s %s (%s)", exchange.request_id, error.message, error.where)
            await exchange.refuse(
                Refusal(
                    503, "The gateway cannot read its own files.", "server_error", "gateway_misconfigured"
                )
            )
        except Exception:
            # The top of the gateway: a fault of ours costs this request alone, told in the usual shape.
            log.exception("request=%s failed by a fault of the gateway", exchange.request_id)
            if exchange.status:
                raise
            await exchange.refuse(
                Refusal(500, "The gateway failed; its log says how.", "server_error", "gateway_fault")
            )
        finally:
            self._log(exchange, (time.perf_counter() - began) * 1000)

    async def _route(self, exchange: Exchange) -> None:
        method = _ROUTES.get(exchange.path)
        if exchange.path == "/healthz" and exchange.method in ("GET", "HEAD"):
            await exchange.answer(200, b'{"status":"ok"}')
            return
        exchange.user = self._authenticate(exchange)
        if method is None:
            known = ", ".join(f"{verb} {path}" for path, verb in _ROUTES.items())
            raise Refusal(
                404, f"There is nothing here. Known: {known}.", "invalid_request_error", "unknown_url"
            )
        if exchange.method != method:
            raise Refusal(405, f"Use {method}.", "invalid_request_error", "method_not_allowed")
        if exchange.path == "/v1/models":
            await exchange.answer(200, plan.model_list(self._ready()).model_dump_json().encode())
        else:
            await self._chat(exchange)

    def _authenticate(self, exchange: Exchange) -> str:
        token = bearer(exchange.headers)
        user = self._access.who(token) if token else None
        if user is None:
            what = "That token is not valid." if token else "Send a token: 'Authorization: Bearer <token>'."
            raise Refusal(401, what, "authentication_error", "invalid_api_key")
        return user

    def _ready(self) -> tuple[Replica, ...]:
        return plan.ready(self._endpoints.replicas(), self._clock.now(), self._config.stale_after)

    async def _chat(self, exchange: Exchange) -> None:
        body = await exchange.body(self._config.body_limit)
        asked = plan.parse_chat(body)
        live = self._ready()
        order = plan.candidates(live, asked.model, self._busy, self._failed)
        if not order:
            raise plan.no_replica(asked.model, self._endpoints.replicas(), live)
        exchange.model = asked.model
        await exchange.while_connected(self._ask_in_turn(exchange, order, body, stream=bool(asked.stream)))

    async def _ask_in_turn(
        self, exchange: Exchange, order: tuple[Replica, ...], body: bytes, *, stream: bool
    ) -> None:
        """Pass the request to the first replica that answers. Raises :class:`Refusal` when none does."""
        tries = order[:_TRIES]
        for replica in tries:
            nonce = replica.record.nonce
            exchange.job = str(replica.record.job_id)
            self._busy[nonce] += 1
            try:
                async with self._upstream.ask(replica, exchange.path, body) as answer:
                    await _pass_on(exchange, answer, stream=stream)
                self._failed.pop(nonce, None)
                return
            except Unreachable as error:
                log.warning("request=%s job=%s gave no answer: %s", exchange.request_id, exchange.job, error)
                self._failed[nonce] = self._clock.now()
            finally:
                self._busy[nonce] -= 1
                self._busy += Counter()  # forget those at zero
        raise plan.all_failed(exchange.model, len(tries))

    @staticmethod
    def _log(exchange: Exchange, milliseconds: float) -> None:
        # Neither prompts nor answers, and no text of the client's but the name of a model that exists.
        path = exchange.path if exchange.path in _ROUTES else "unknown"
        log.log(
            # Probes come every few seconds and say nothing when all is well.
            logging.DEBUG if path == "/healthz" else logging.INFO,
            "request=%s status=%d method=%s path=%s user=%s model=%s job=%s ms=%.1f",
            exchange.request_id,
            exchange.status,
            exchange.method,
            path,
            exchange.user,
            exchange.model,
            exchange.job,
            milliseconds,
        )


async def _pass_on(exchange: Exchange, answer: Answer, *, stream: bool) -> None:
    """Send the engine's answer. Raises :class:`Unreachable` only while nothing was sent yet."""
    if answer.status in _BUSY_STATUSES:
        raise Unreachable(f"status {answer.status}")
    if answer.status >= 400:
        await exchange.refuse(_engine_refusal(answer.status, await answer.read()))
    elif stream:
        await _stream(exchange, answer)
    else:
        await exchange.answer(answer.status, await answer.read(), answer.content_type)


async def _stream(exchange: Exchange, answer: Answer) -> None:
    begun = False
    try:
        async for chunk in answer.chunks:
            if not begun:
                # Headers wait for the first chunk: until then another replica can still take over.
                await exchange.begin(answer.status, answer.content_type, ((b"x-accel-buffering", b"no"),))
                begun = True
            await exchange.write(chunk)
    except Unreachable as error:
        if not begun:
            raise
        log.warning("request=%s job=%s broke off: %s", exchange.request_id, exchange.job, error)
        broken = Refusal(502, "The engine broke off.", "upstream_error", "replica_broke_off", source="engine")
        await exchange.write(b"data: " + broken.body() + b"\n\n")
    if not begun:
        await exchange.begin(answer.status, answer.content_type)
    await exchange.write(b"", more=False)


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


def create_app(
    config: GatewayConfig,
    *,
    access: Access | None = None,
    endpoints: EndpointSource | None = None,
    upstream: Upstream | None = None,
    clock: Clock | None = None,
) -> Gateway:
    """The gateway's ASGI application. What is not passed in is made as the configuration says."""
    clock = clock or SystemClock()
    return Gateway(
        config,
        access=access or TokenAccess(config.token_digests),
        endpoints=endpoints or EndpointFolder(config.endpoints, clock),
        upstream=upstream or Upstream(answer_timeout=config.answer_timeout),
        clock=clock,
    )
