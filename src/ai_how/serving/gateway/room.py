"""Where requests get a replica, at once or after waiting for one in a fair queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from ai_how.run import Clock
from ai_how.serving.gateway import plan
from ai_how.serving.gateway.balance import Choice
from ai_how.serving.gateway.demand import Nobody, Reporter, summary
from ai_how.serving.gateway.model import GatewayConfig, Refusal
from ai_how.serving.gateway.plan import Patience
from ai_how.serving.gateway.queue import FairQueue
from ai_how.serving.gateway.routes import Directory
from ai_how.serving.gateway.seats import Seat, Served
from ai_how.wire import Demand

# Seconds between two looks at the routes while requests wait, and while none does.
_POLL = 0.02
_WATCH = 0.25


@dataclass(eq=False, slots=True)
class Ticket:
    """What is asked for: a replica of a model, for somebody, by a time (epoch seconds). ``tried`` are the replicas that
    failed to answer, one entry a try."""

    model: str
    holder: str
    tokens: int
    beginnings: Sequence[int]
    until: float
    tried: list[str] = field(default_factory=list)
    given: asyncio.Future[Seat] | None = None


class Room:
    """Gives each request a seat, and takes it back. One process, one event loop."""

    def __init__(self, config: GatewayConfig, directory: Directory, clock: Clock) -> None:
        self._config = config
        self._directory = directory
        self._clock = clock
        self._choices: dict[str, Choice] = {}
        self._queues: dict[str, FairQueue[Ticket]] = {}
        # Those who were given a replica that failed: they have waited already, and may not take every replica.
        self._again: dict[str, list[Ticket]] = {}
        self._asked: dict[str, float] = {}
        self._poll: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.reporter: Reporter = Nobody()

    # --- a seat for a request -----------------------------------------------------------------------

    def take(self, ticket: Ticket, served: Served) -> Seat | None:
        """A seat now; None when the request has to wait. Raises :class:`Refusal` when waiting is in vain."""
        self._asked[ticket.model] = self._clock.now()
        seat = None if self._queues.get(ticket.model) and not ticket.tried else self._choose(served, ticket)
        if seat is None:
            self._refuse(served, ticket)
            return None
        self._occupy(seat, ticket)
        self.reporter.changed()
        return seat

    def enter(self, ticket: Ticket) -> None:
        """Begin to wait: ``ticket.given`` will bring the seat. Raises :class:`Refusal` when the queue is full."""
        model = ticket.model
        queue = self._queues.setdefault(model, FairQueue())
        most = self._config.queue_most
        if len(queue) >= most:
            raise plan.queue_full(model, most)
        if queue.of(ticket.holder) >= max(most // 2, 1):
            raise plan.too_many_waiting(model, max(most // 2, 1))
        first = not self._waiting(model)
        ticket.given = asyncio.get_running_loop().create_future()
        if ticket.tried:
            self._again.setdefault(model, []).append(ticket)
        else:
            queue.push(ticket.holder, ticket)
        self.reporter.at_once() if first else self.reporter.changed()
        self._arm()

    def leave(self, ticket: Ticket) -> None:
        """Stop waiting. A seat that was given meanwhile is given back."""
        given, ticket.given = ticket.given, None
        if given is None:
            return
        if given.done() and not given.cancelled() and given.exception() is None:
            self.release(given.result(), ticket)
            return
        given.cancel()
        self._drop(ticket)
        self.reporter.changed()

    def release(self, seat: Seat, ticket: Ticket) -> None:
        """Give a seat back; whoever waits for one of this model gets it."""
        seat.requests -= 1
        seat.tokens -= ticket.tokens
        if self._waiting(ticket.model):
            self._serve(ticket.model)
        self.reporter.changed()

    def failed(self, seat: Seat, ticket: Ticket) -> None:
        """The replica did not answer: it comes last until it shows that it lives."""
        seat.failed = self._clock.now()
        ticket.tried.append(seat.nonce)

    # --- how it is done -------------------------------------------------------------------------------

    def _waiting(self, model: str) -> int:
        queue = self._queues.get(model)
        return (len(queue) if queue else 0) + len(self._again.get(model, ()))

    def _choose(self, served: Served, ticket: Ticket) -> Seat | None:
        choice = self._choices.get(ticket.model)
        if choice is None:
            choice = self._choices[ticket.model] = Choice()
        since = self._clock.now() - self._config.stale_after
        return choice.pick(
            served.seats, ticket.beginnings, since=since, tried=ticket.tried, mixed=served.mixed
        )

    @staticmethod
    def _occupy(seat: Seat, ticket: Ticket) -> None:
        seat.requests += 1
        seat.tokens += ticket.tokens

    def _refuse(self, served: Served, ticket: Ticket) -> None:
        """Raise the :class:`Refusal` of a request that waits in vain."""
        now = self._clock.now()
        patience = Patience(now, now - self._config.stale_after, ticket.until)
        if refusal := plan.wait_or_refuse(served, patience):
            # Whoever is sent away until later still wants the model.
            self.reporter.at_once()
            raise refusal
        if ticket.tried and not served.routed:
            # Nobody starts another one.
            raise plan.all_failed(served.model, len(ticket.tried))

    def _serve(self, model: str) -> None:
        """Give seats to those who wait for this model, as far as there are any."""
        served = self._directory.models().get(model)
        if served is None:
            self._turn_away(model, plan.no_such(model, ()))
            return
        for ticket in list(self._again.get(model, ())):
            if seat := self._choose(served, ticket):
                self._give(ticket, seat)
        queue = self._queues.get(model)
        while queue:
            seat = self._choose(served, queue.first())
            if seat is None:
                break
            self._give(queue.first(), seat)

    def _give(self, ticket: Ticket, seat: Seat) -> None:
        self._drop(ticket)
        self._occupy(seat, ticket)
        assert ticket.given is not None
        ticket.given.set_result(seat)

    def _drop(self, ticket: Ticket) -> None:
        model, again = ticket.model, self._again.get(ticket.model, [])
        if ticket in again:
            again.remove(ticket)
        elif (queue := self._queues.get(model)) is not None:
            if queue and queue.first() is ticket:
                queue.pop()
            else:
                queue.remove(ticket.holder, ticket)

    def _turn_away(self, model: str, refusal: Refusal) -> None:
        queue = self._queues.get(model)
        tickets = [*self._again.pop(model, ()), *(queue.drain() if queue else ())]
        for ticket in tickets:
            if ticket.given is not None and not ticket.given.done():
                ticket.given.set_exception(refusal)
        self.reporter.changed()

    # --- looking at the routes ---------------------------------------------------------------------

    def _arm(self) -> None:
        if self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(_POLL, self._look)

    def _look(self) -> None:
        self._poll = None
        models = self._directory.models()
        now = self._clock.now()
        for model in [*self._queues]:
            if not self._waiting(model):
                del self._queues[model]
                self._again.pop(model, None)
                continue
            self._serve(model)
            if (served := models.get(model)) and self._waiting(model):
                patience = Patience(now, now - self._config.stale_after, now + self._config.wait_most)
                if served.routed and (refusal := plan.wait_or_refuse(served, patience)):
                    self._turn_away(model, refusal)
        if self._queues:
            self._arm()

    def watch(self) -> None:
        """Look at the routes now and then, so that a change is heard of and told while nothing is asked."""
        before = self._directory.generation
        self._directory.models()
        if self._directory.generation != before:
            self.reporter.at_once()
        self._watch = asyncio.get_running_loop().call_later(_WATCH, self.watch)

    def close(self) -> None:
        for timer in (self._poll, self._watch):
            if timer is not None:
                timer.cancel()
        self._poll = self._watch = None
        self.reporter.close()

    # --- what is told of it -------------------------------------------------------------------------

    def waiting(self) -> dict[str, int]:
        """How many requests wait, by model."""
        return {model: self._waiting(model) for model in self._queues}

    def demand(self, worker: str) -> tuple[Demand, bool]:
        """All of the load, and whether there is any."""
        models, replicas = summary(self._directory.seats.values(), self.waiting())
        served = self._directory.models()
        demand = Demand(
            worker=worker,
            generation=self._directory.generation,
            at=self._clock.now(),
            models=models,
            replicas=replicas,
            asked={model: at for model, at in self._asked.items() if model in served},
        )
        return demand, bool(models)
