"""Takes requests for models: whether a token may have a model, and still spend what is asked; and what was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ai_how.run import Clock
from ai_how.security import TokenEntry
from ai_how.serving.gateway import plan
from ai_how.serving.gateway.counting import Count
from ai_how.serving.gateway.demand import DemandSocket
from ai_how.serving.gateway.dialect import OPENAI, Asked, openai
from ai_how.serving.gateway.exchange import Exchange
from ai_how.serving.gateway.ledger import Ledger
from ai_how.serving.gateway.metrics import Gauge, Metrics
from ai_how.serving.gateway.model import GatewayConfig, Refusal
from ai_how.serving.gateway.ollama import Shown, ollama
from ai_how.serving.gateway.relay import JSON, Relay
from ai_how.serving.gateway.room import Room
from ai_how.serving.gateway.routes import Directory
from ai_how.serving.gateway.seats import Served
from ai_how.serving.gateway.upstream import Upstream
from ai_how.serving.gateway.usage import UsageLog
from ai_how.wire import ModelCard, ModelList


class Desk:
    """What the gateway knows of models, and what it does with requests for them."""

    def __init__(
        self,
        config: GatewayConfig,
        directory: Directory,
        upstream: Upstream,
        ledger: Ledger,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._directory = directory
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._room = Room(config, directory, clock)
        if config.demand is not None:
            self._room.reporter = DemandSocket(config.demand, self._room.demand)
        self._relay = Relay(config, upstream, directory, self._room, clock)
        self._usage = UsageLog(config.usage, clock)

    def start(self) -> None:
        """Look at the routes now and then even when nothing is asked. Belongs into a running loop."""
        self._room.watch()

    async def close(self) -> None:
        """End everything; what was counted is written down before this returns."""
        self._room.close()
        await self._relay.close()
        self._usage.close()

    def models(self, entry: TokenEntry) -> ModelList:
        """The models that can be had with this token."""
        return plan.model_list(self._opened(entry), self._since)

    def card(self, exchange: Exchange, model: str, entry: TokenEntry) -> ModelCard:
        """One of them. Raises :class:`Refusal`."""
        served = self._judge(model, entry)
        exchange.model = model
        cards = plan.model_list([served], self._since).data
        if not cards:
            raise plan.cannot_be_had(served)
        return cards[0]

    async def ask(self, exchange: Exchange, entry: TokenEntry) -> None:
        """Answer a request for a model. Raises :class:`Refusal` while nothing was sent."""
        body = await exchange.body(self._config.body_limit)
        if exchange.path in OPENAI:
            asked = openai(exchange.path, body)
        else:
            asked = ollama(exchange.path, body, self._directory.models(), self._clock)
        served = self._named(exchange, asked, entry)
        exchange.model = asked.model
        if asked.at_once is not None:
            await self._at_once(exchange, entry, asked, served)
        elif isinstance(asked.answering, Shown) and (state := plan.condition(served, self._since)) != "ready":
            # Looking at a model wakes nobody.
            if not plan.had(served, self._since):
                raise plan.cannot_be_had(served)
            await exchange.answer(200, asked.answering.unseen(state))
        else:
            await self._pass_on(exchange, entry, asked, served)

    async def _at_once(self, exchange: Exchange, entry: TokenEntry, asked: Asked, served: Served) -> None:
        """Answer without asking a replica; one that is asked to load the model loads it."""
        if not plan.had(served, self._since):
            raise plan.cannot_be_had(served)
        if asked.wakes:
            await exchange.while_connected(self._relay.wake(exchange, asked, served, entry.holder))
        stream_type = asked.answering.stream_type if asked.stream else None
        await exchange.answer(200, asked.at_once or b"", stream_type or JSON)

    async def _pass_on(self, exchange: Exchange, entry: TokenEntry, asked: Asked, served: Served) -> None:
        """Ask a replica, within what the token may still spend; count what it has said."""
        if isinstance(asked.answering, Shown):
            # The engine reads no text for it: that is nobody's use of the model.
            await exchange.while_connected(
                self._relay.pass_on(exchange, asked, served, entry.holder, Count(0))
            )
            return
        held = asked.tokens
        if stop := self._ledger.hold(entry, held):
            raise plan.spent(entry, stop)
        count = Count(held - asked.writes)
        try:
            await exchange.while_connected(self._relay.pass_on(exchange, asked, served, entry.holder, count))
        except BaseException:
            count.failed = True
            raise
        finally:
            count.close()
            self._ledger.settle(entry, held, count.total)
            self._note(entry, exchange, count)

    def _note(self, entry: TokenEntry, exchange: Exchange, count: Count) -> None:
        self._usage.add(entry, exchange.model, exchange.job, count)
        if count.prompt:
            self._metrics.count(exchange.model, "prompt", count.prompt)
        if count.completion:
            self._metrics.count(exchange.model, "completion", count.completion)

    @property
    def _since(self) -> float:
        """A replica whose last heartbeat is older than this gets no requests."""
        return self._clock.now() - self._config.stale_after

    def _opened(self, entry: TokenEntry) -> Iterator[Served]:
        """The models that the token opens."""
        return (one for name, one in self._directory.models().items() if entry.opens(name))

    def _judge(self, model: str, entry: TokenEntry) -> Served:
        """The model, if it is known. Raises the :class:`Refusal` of one that is not, or not to this token."""
        plan.check_name(model)
        if not entry.opens(model):
            # Before it is known whether there is such a model: that is not this token's to learn.
            raise plan.not_allowed(model)
        served = self._directory.models().get(model)
        if served is None:
            raise plan.no_such(model, (card.id for card in self.models(entry).data))
        return served

    def _named(self, exchange: Exchange, asked: Asked, entry: TokenEntry) -> Served:
        try:
            return self._judge(asked.model, entry)
        except Refusal as refusal:
            if exchange.path == "/api/pull" and refusal.status == 404:
                raise plan.pulls_nothing(asked.model) from None
            raise

    def gauges(self) -> Iterator[Gauge]:
        """How it is now, for those who watch."""
        since = self._since
        states: Counter[tuple[str, ...]] = Counter()
        for replica in self._directory.replicas():
            states[replica.record.model, "silent" if replica.record.heartbeat < since else "ready"] += 1
        yield Gauge("replicas", "Replicas with a record, by how they are.", ("model", "state"), states)
        waiting: dict[tuple[str, ...], float] = {
            (model,): float(count) for model, count in self._room.waiting().items()
        }
        yield Gauge("waiting", "Requests that wait for a replica, at this worker.", ("model",), waiting)
