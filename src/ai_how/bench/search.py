"""The search for the highest load that meets the objective: which load is tried next, and what was found. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ai_how.bench.model import Probe, RunRecord, Saturation
from ai_how.bench.verdict import reasons_of_generator
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_load import Search


def ends(probes: Sequence[Probe]) -> tuple[float | None, float | None]:
    """The highest load that met the objective with none below it that missed it, and the lowest that missed it.

    The last word on a load is the one that counts: a confirmation may take back what a single run said.
    """
    known = {probe.load: probe.met for probe in probes}
    missed = min((load for load, met in known.items() if not met), default=None)
    met = max(
        (load for load, met in known.items() if met and (missed is None or load < missed)), default=None
    )
    return met, missed


def following(asked: Search, probes: Sequence[Probe]) -> float | None:
    """The load to try next: twice the last until one misses, then the middle (of the logarithms). None at the end."""
    met, missed = ends(probes)
    if not probes:
        return _as(asked, asked.low)
    if missed is None:
        assert met is not None
        return None if met >= asked.high else _as(asked, min(2 * met, asked.high))
    if met is None:
        return None if missed <= asked.low else _as(asked, asked.low)
    if missed <= met * (1 + asked.within) or (asked.key == "load.clients" and missed - met <= 1):
        return None
    middle = _as(asked, math.sqrt(met * missed))
    return None if middle in (met, missed) else middle


def unsure(probes: Sequence[Probe]) -> float | None:
    """The load whose miss the answer rests on, where a single run says so: one run may miss by chance, and what
    meets is confirmed as well. None where there is no such load.
    """
    _, missed = ends(probes)
    return missed if sum(probe.load == missed for probe in probes) == 1 else None


def _as(asked: Search, load: float) -> float:
    """Clients are whole, and a rate has as many digits as the search can tell apart."""
    if asked.key == "load.clients":
        return float(round(load))
    return float(f"{load:.4g}")


def setting(asked: Search, load: float) -> int | float:
    """The load as the recipe's key wants it."""
    return round(load) if asked.key == "load.clients" else load


def judged(recipe: BenchRecipe, load: float, run: RunRecord) -> Probe:
    """Whether a run met the objective. A generator that was late, or near its end, proves nothing: that is a miss."""
    share = run.kept or 0.0
    reasons = [*run.reasons, *reasons_of_generator(recipe, run)]
    if run.stopped:
        reasons.append(f"the run ended early: {run.stopped}")
    return Probe(load=load, share=share, met=share >= recipe.objective.share and not reasons,
                 reasons=tuple(reasons))  # fmt: skip


def answer(asked: Search, side: str, probes: Sequence[Probe], confirmed: Sequence[float]) -> Saturation:
    """What the search found."""
    met, missed = ends(probes)
    return Saturation(
        key=asked.key, met=met, missed=missed, share=tuple(confirmed), probes=tuple(probes), side=side
    )
