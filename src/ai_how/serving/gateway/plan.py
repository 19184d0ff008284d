"""What the gateway decides: who may be asked, who is asked first, and what to say when nobody can. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from ai_how.security import Grant
from ai_how.serving.gateway.ledger import Stop
from ai_how.serving.gateway.model import Refusal, Replica
from ai_how.wire import MODEL_NAME, ModelCard, ModelList


def ready(replicas: Iterable[Replica], now: float, stale_after: float) -> tuple[Replica, ...]:
    """The replicas whose last heartbeat is at most ``stale_after`` seconds old."""
    return tuple(replica for replica in replicas if now - replica.record.heartbeat <= stale_after)


def candidates(
    replicas: Iterable[Replica], model: str, busy: Mapping[str, int], failed: Mapping[str, float]
) -> tuple[Replica, ...]:
    """The replicas of ``model`` in the order to ask them: those that work, the least busy first.

    ``busy`` counts the requests that each holds, by nonce. ``failed`` has the wall time at which a replica
    refused a request; it comes last until a later heartbeat shows that it lives.
    """

    def order(replica: Replica) -> tuple[bool, int, str]:
        record = replica.record
        doubtful = record.heartbeat <= failed.get(record.nonce, float("-inf"))
        return doubtful, busy.get(record.nonce, 0), record.nonce

    return tuple(sorted((replica for replica in replicas if replica.record.model == model), key=order))


def since(replicas: Iterable[Replica]) -> dict[str, float]:
    """The models that can be asked, by name, and when the oldest replica of each became ready."""
    found: dict[str, float] = {}
    for replica in sorted(replicas, key=lambda one: one.record.model):
        record = replica.record
        found[record.model] = min(record.started, found.get(record.model, record.started))
    return found


def model_list(replicas: Iterable[Replica]) -> ModelList:
    """The models that can be asked, in OpenAI's shape."""
    return ModelList(
        data=tuple(ModelCard(id=name, created=int(started)) for name, started in since(replicas).items())
    )


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


def no_replica(model: str, known: Sequence[Replica], live: Sequence[Replica]) -> Refusal:
    """Why nobody can answer for ``model``: it is served by nobody, or its replicas have gone silent."""
    if any(replica.record.model == model for replica in known):
        return Refusal(
            status=503,
            message=f"No replica of the model '{model}' is ready: the last one has stopped answering.",
            kind="service_unavailable",
            code="no_ready_replica",
            param="model",
            retry_after=5,
        )
    names = sorted({replica.record.model for replica in live})
    message = f"The model '{model}' does not exist. "
    near = difflib.get_close_matches(model, names, n=1)
    if near:
        message += f"Did you mean '{near[0]}'? "
    message += f"These models exist: {', '.join(names)}." if names else "No model is being served."
    return Refusal(
        status=404, message=message, kind="invalid_request_error", code="model_not_found", param="model"
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
