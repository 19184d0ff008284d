"""What the gateway's workers say of their load, taken together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ai_how.serving.replicas.scaling import Load
from ai_how.serving.replicas.view import SILENT_WORKER, Heard


def loads(workers: Iterable[Heard], now: float) -> Mapping[str, Load]:
    """The load of each model over all workers; ``now`` is monotonic, as the times at which they were heard.

    A worker that has been silent for a while holds nothing: while it does, it tells of itself each second.
    """
    found: dict[str, Load] = {}
    for one in workers:
        for model, asked in one.demand.asked.items():
            before = found.get(model, Load())
            found[model] = Load(before.waiting, before.active, before.tokens, max(before.asked, asked))
        if now - one.at > SILENT_WORKER:
            continue
        for model, load in one.demand.models.items():
            before = found.get(model, Load())
            found[model] = Load(
                before.waiting + load.waiting,
                before.active + load.active,
                before.tokens + load.tokens,
                before.asked,
            )
    return found


def requests(workers: Iterable[Heard], now: float) -> Mapping[str, int]:
    """The requests on each replica, by nonce."""
    found: dict[str, int] = {}
    for one in workers:
        if now - one.at <= SILENT_WORKER:
            for nonce, count in one.demand.replicas.items():
                found[nonce] = found.get(nonce, 0) + count
    return found
