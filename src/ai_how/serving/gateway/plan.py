"""What the gateway decides: who may ask, which models there are, and what to say when nobody can answer. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ai_how.security import Grant
from ai_how.serving.gateway.ledger import Stop
from ai_how.serving.gateway.model import Refusal
from ai_how.serving.gateway.seats import Served
from ai_how.wire import MODEL_NAME, FaultSource, ModelCard, ModelList, ModelState


@dataclass(frozen=True)
class Patience:
    """How long requests wait. ``since``: a replica whose last heartbeat is older gets none; ``until``: a request that
    would have to wait longer is refused at once. Both in seconds since the epoch, as ``now``."""

    now: float
    since: float
    until: float


def condition(served: Served, since: float) -> ModelState:
    """How a model is, by its routes and by the heartbeats of its replicas."""
    if any(seat.heartbeat >= since for seat in served.seats):
        return "ready"
    return "starting" if served.state == "ready" else served.state


def had(served: Served, since: float) -> bool:
    """Whether a model can be had: now, or by waiting for it."""
    state = condition(served, since)
    if not served.routed:
        return state == "ready"
    return state in ("ready", "starting") or (state == "asleep" and served.wakes)


def model_list(models: Iterable[Served], since: float) -> ModelList:
    """The models that can be had, in OpenAI's shape."""
    return ModelList(
        data=tuple(
            ModelCard(id=one.model, created=int(one.known), state=condition(one, since))
            for one in sorted(models, key=lambda one: one.model)
            if had(one, since)
        )
    )


def wait_or_refuse(served: Served, patience: Patience) -> Refusal | None:
    """Why a request cannot even wait for this model; None when it may be asked, or can wait for a replica."""
    state = condition(served, patience.since)
    if state == "ready":
        return None
    if not had(served, patience.since):
        return cannot_be_had(served)
    if served.expected is not None and served.expected > patience.until:
        return too_long(served, patience.now)
    return None


def check_name(model: str) -> None:
    """Refuse what cannot name a model, before anything is done with it. Raises :class:`Refusal`."""
    if not re.fullmatch(MODEL_NAME, model):
        raise Refusal(
            status=400,
            message="model: That cannot be the name of a model.",
            kind="invalid_request_error",
            code="invalid_request",
            param="model",
        )


def not_allowed(model: str) -> Refusal:
    """The token is good, but not for this model."""
    return Refusal(
        status=403,
        message=f"This token does not open the model '{model}'.",
        kind="permission_error",
        code="model_not_allowed",
        param="model",
    )


def spent(grant: Grant, stop: Stop) -> Refusal:
    """The token has spent what it may: it may ask again later, or never."""
    wait = None if stop.seconds is None else max(math.ceil(stop.seconds), 1)
    limit, again = {
        "requests": (f"may ask {grant.requests_per_minute} times a minute", f"Try again in {wait} s."),
        "tokens": (f"may use {grant.tokens_per_minute} tokens of text a minute", f"Try again in {wait} s."),
        "day": (
            f"has used its {grant.tokens_per_day} tokens of text of today",
            "The next day begins at 0:00 UTC.",
        ),
        "all": (f"has used all of its {grant.tokens_in_all} tokens of text", "Ask whoever gave it to you."),
    }[stop.limit]
    budget = stop.limit in ("day", "all")
    return Refusal(
        status=429,
        message=f"This token {limit}. {again}",
        kind="insufficient_quota" if budget else "rate_limit_error",
        code="budget_spent" if budget else "rate_limit_exceeded",
        retry_after=wait,
    )


def no_such(model: str, names: Iterable[str]) -> Refusal:
    """Nobody serves that model; these others there are."""
    names = sorted(names)
    message = f"The model '{model}' does not exist. "
    near = difflib.get_close_matches(model, names, n=1)
    if near:
        message += f"Did you mean '{near[0]}'? "
    message += f"These models exist: {', '.join(names)}." if names else "No model is being served."
    return Refusal(
        status=404, message=message, kind="invalid_request_error", code="model_not_found", param="model"
    )


def cannot_be_had(served: Served) -> Refusal:
    """Why a model that is known cannot be asked, nor waited for."""
    if not served.routed:
        return gone_silent(served.model)
    return failed(served) if served.state == "failed" else asleep(served)


def pulls_nothing(model: str) -> Refusal:
    """A client of Ollama's wants a model brought that nobody serves."""
    return Refusal(
        status=404,
        message=f"The model '{model}' does not exist here, and the gateway pulls none: `ai-how serve` brings models.",
        kind="invalid_request_error",
        code="model_not_found",
        param="model",
    )


def gone_silent(model: str) -> Refusal:
    """There was a replica, and nothing says that there will be another."""
    message = f"No replica of the model '{model}' is ready: the last one has stopped answering."
    return _unavailable(message, "no_ready_replica", source="gateway", retry_after=5)


def failed(served: Served) -> Refusal:
    """The model was given up."""
    why = f": {served.reason}" if served.reason else ""
    return _unavailable(f"The model '{served.model}' could not be started{why}.", "model_failed")


def asleep(served: Served) -> Refusal:
    """Nobody is to wake it but its owner."""
    message = (
        f"The model '{served.model}' has no replica, and a request does not start one. Ask the site's owner."
    )
    return _unavailable(message, "model_asleep")


def too_long(served: Served, now: float) -> Refusal:
    """A replica is on its way, but later than a request waits."""
    seconds = max(math.ceil((served.expected or now) - now), 1)
    why = f" ({served.reason})" if served.reason else ""
    message = f"A replica of the model '{served.model}' is expected in {seconds} s{why}. Try again then."
    return _unavailable(message, "not_ready_yet", retry_after=seconds)


def waited_in_vain(served: Served | None, model: str, now: float, waited: float) -> Refusal:
    """The time is up."""
    expected = served.expected if served else None
    seconds = max(math.ceil(expected - now), 5) if expected is not None else 30
    message = (
        f"No replica of the model '{model}' became free within {waited:.0f} s. Try again in {seconds} s."
    )
    return _unavailable(message, "waited_too_long", retry_after=seconds)


def queue_full(model: str, most: int) -> Refusal:
    """There is no room to wait."""
    message = f"{most} requests wait for the model '{model}' already. Try again in a moment."
    return _unavailable(message, "queue_full", source="gateway", retry_after=10)


def too_many_waiting(model: str, most: int) -> Refusal:
    """One holder's part of the queue is full."""
    return Refusal(
        status=429,
        message=f"{most} of your requests wait for the model '{model}' already. Try again in a moment.",
        kind="rate_limit_error",
        code="too_many_waiting",
        param="model",
        retry_after=10,
    )


def all_failed(model: str, tried: int) -> Refusal:
    """Nobody who was asked answered, and nothing was sent to the client yet."""
    return Refusal(
        status=502,
        message=f"The engine that serves '{model}' does not answer ({tried} tried). Try again in a moment.",
        kind="upstream_error",
        code="replica_unreachable",
        source="engine",
        retry_after=5,
    )


def _unavailable(
    message: str, code: str, *, source: FaultSource = "scheduler", retry_after: int | None = None
) -> Refusal:
    return Refusal(
        status=503,
        message=message,
        kind="service_unavailable",
        code=code,
        source=source,
        param="model",
        retry_after=retry_after,
    )
