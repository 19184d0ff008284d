"""The gateway itself: authentication, routing, passing on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from ai_how.errors import AiHowError
from ai_how.run import Clock, SystemClock
from ai_how.security import TokenEntry
from ai_how.serving.gateway import plan
from ai_how.serving.gateway.access import Access, TokenAccess, bearer
from ai_how.serving.gateway.accesslog import Sink, line, logged
from ai_how.serving.gateway.desk import Desk
from ai_how.serving.gateway.dialect import OPENAI, compact
from ai_how.serving.gateway.endpoints import EndpointFolder, EndpointSource
from ai_how.serving.gateway.exchange import ClientGone, Exchange
from ai_how.serving.gateway.ledger import Ledger
from ai_how.serving.gateway.metrics import CONTENT_TYPE, Metrics
from ai_how.serving.gateway.model import GatewayConfig, Refusal
from ai_how.serving.gateway.ollama import ASKING, VERSION, running, tags
from ai_how.serving.gateway.routes import Directory, NoRoutes, RouteFile, RouteSource
from ai_how.serving.gateway.upstream import Pool, Upstream
from ai_how.wire import ModelList

log = logging.getLogger("ai_how.gateway")

# What nginx calls "client closed request": for the log only, nobody receives it.
_CLIENT_GONE = 499
# What is answered from what is known of the models, without asking any replica.
_LISTS: dict[str, Callable[[ModelList], bytes]] = {
    "/v1/models": lambda models: models.model_dump_json().encode(),
    "/api/version": lambda models: compact({"version": VERSION}),
    "/api/tags": lambda models: compact(tags(models.data)),
    "/api/ps": lambda models: compact(running(models.data)),
}
_CARD = "/v1/models/"
_METRICS = "/metrics"
_ROUTES = (
    {"/healthz": "GET", _METRICS: "GET"}
    | dict.fromkeys(_LISTS, "GET")
    | dict.fromkeys((*OPENAI, *ASKING), "POST")
)


class Gateway:
    """Answers exchanges. Everything it touches is passed in, so that a test can hold it."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        access: Access,
        directory: Directory,
        upstream: Upstream,
        clock: Clock,
        access_log: Sink,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._access_log = access_log
        self.metrics = metrics
        self._access = access
        self._clock = clock
        self._ledger = Ledger(config.ledger, clock)
        self._desk = Desk(config, directory, upstream, self._ledger, clock, metrics)

    def start(self) -> None:
        """Look at the routes, and tell of the load, from now on, asked or not. Belongs into a running loop."""
        self._desk.start()

    async def close(self) -> None:
        """Let go of the replicas; what was counted is written down before this returns."""
        await self._desk.close()
        self._ledger.close()

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
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
            self._note(exchange)

    async def _route(self, exchange: Exchange) -> None:
        if exchange.fault:
            raise exchange.fault
        method = "GET" if exchange.path.startswith(_CARD) else _ROUTES.get(exchange.path)
        # Where GET is answered, so is HEAD; the exchange leaves the body out.
        asked = "GET" if exchange.method == "HEAD" else exchange.method
        if exchange.path == "/healthz" and asked == "GET":
            await exchange.answer(200, b'{"status":"ok"}')
            return
        entry = self._authenticate(exchange)
        if method is None:
            known = ", ".join(f"{verb} {path}" for path, verb in _ROUTES.items())
            raise Refusal(
                404, f"There is nothing here. Known: {known}.", "invalid_request_error", "unknown_url"
            )
        if asked != method:
            allow = "GET, HEAD" if method == "GET" else method
            raise Refusal(405, f"Use {method}.", "invalid_request_error", "method_not_allowed", allow=allow)
        if exchange.path.startswith(_CARD):
            card = self._desk.card(exchange, exchange.path.removeprefix(_CARD), entry)
            await exchange.answer(200, card.model_dump_json().encode())
        elif exchange.path == _METRICS:
            page = self.metrics.page(self._desk.gauges(), entry.opens)
            await exchange.answer(200, page, CONTENT_TYPE)
        elif listed := _LISTS.get(exchange.path):
            await exchange.answer(200, listed(self._desk.models(entry)))
        else:
            await self._desk.ask(exchange, entry)

    def _authenticate(self, exchange: Exchange) -> TokenEntry:
        token = bearer(exchange.headers)
        entry = self._access.who(token) if token else None
        if entry is None:
            what = "That token is not valid." if token else "Send a token: 'Authorization: Bearer <token>'."
            raise Refusal(401, what, "authentication_error", "invalid_api_key")
        exchange.user = entry.name
        if entry.expired(self._clock.now()):
            raise Refusal(401, "That token has expired.", "authentication_error", "expired_api_key")
        if stop := self._ledger.ask(entry):
            raise plan.spent(entry, stop)
        return entry

    def _note(self, exchange: Exchange) -> None:
        # Neither prompts nor answers, and no text of the client's but the name of a model that exists.
        ended = time.perf_counter()
        path = exchange.path
        if path not in _ROUTES:
            path = "/v1/models/*" if path.startswith(_CARD) else "unknown"
        self.metrics.note(exchange, ended)
        if path != "/healthz":  # probes come every few seconds and say nothing when all is well
            self._access_log(line(exchange, path, self._clock.now(), ended))


def create_app(
    config: GatewayConfig,
    *,
    access: Access | None = None,
    endpoints: EndpointSource | None = None,
    upstream: Upstream | None = None,
    clock: Clock | None = None,
    access_log: Sink = logged,
    metrics: Metrics | None = None,
) -> Gateway:
    """The gateway. What is not passed in is made as the configuration says."""
    clock = clock or SystemClock()
    routes: RouteSource = RouteFile(config.routes, clock) if config.routes else NoRoutes()
    return Gateway(
        config,
        access=access or TokenAccess(config.token_digests, config.tokens),
        directory=Directory(
            endpoints or EndpointFolder(config.endpoints, clock, None if config.routes else os.geteuid()),
            routes,
            config.workers,
        ),
        upstream=upstream or Pool(answer_timeout=config.answer_timeout),
        clock=clock,
        access_log=access_log,
        metrics=metrics or Metrics(),
    )
