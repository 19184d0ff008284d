"""What a result says in a centre's own units: users a node, node-hours, joules and money a million tokens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from ai_how.bench.model import Figure, Result, RunRecord
from ai_how.spec.bench import BenchRecipe, override
from ai_how.spec.bench_load import Setting

_MILLION = 1e6
_HOUR = 3600.0


class Answer(NamedTuple):
    """One answer; ``ok`` only where every figure behind it can be trusted. ``note`` says what it was made of."""

    words: str
    value: float
    unit: str
    ok: bool
    note: str


def answers(result: Result) -> list[Answer]:
    """Those that this result can give, for each side."""
    sides = ("a", "b") if result.recipe.against else ("",)
    return [one for side in sides for one in _of_side(result, side)]


def _of_side(result: Result, side: str) -> Iterator[Answer]:
    prices, named = result.recipe.prices, f", side {side}" if side else ""
    load, point = best(result, side)
    of_point = _figures(result, side, point)
    if load is not None:
        key, value = load
        # Without any figure nothing was confirmed: the search had not come to it.
        behind = [one.ok for name, one in of_point.items() if name in ("goodput", "throughput")]
        ok = bool(behind) and all(behind)
        if key == "load.clients":
            note = f"clients that asked without a pause, {_on(prices.nodes)}"
            yield Answer(f"users a node under the objective{named}", value / prices.nodes, "users", ok, note)
        elif prices.user_rate is not None:
            note = f"{value:g} requests/s, {prices.user_rate:g} a user, {_on(prices.nodes)}"
            users = value / prices.user_rate / prices.nodes
            yield Answer(f"users a node under the objective{named}", users, "users", ok, note)
        else:
            note = f"{_on(prices.nodes)}"
            yield Answer(
                f"load a node under the objective{named}", value / prices.nodes, "requests/s", ok, note
            )
    yield from _of_tokens(result, side, point, of_point, named)


def _of_tokens(
    result: Result, side: str, point: Mapping[str, Setting], figures: Mapping[str, Figure], named: str
) -> Iterator[Answer]:
    figure, prices = figures.get("tokens"), result.recipe.prices
    if figure is None or figure.value <= 0:
        return
    note = f"at {figure.value:,.1f} tokens/s {_on(prices.nodes)}"
    hours = prices.nodes * _MILLION / figure.value / _HOUR
    yield Answer(f"node-hours a million tokens{named}", hours, "h", figure.ok, note)
    if prices.node_hour is not None:
        cost = hours * prices.node_hour
        words = f"{prices.node_hour:g} {prices.currency} a node-hour"
        yield Answer(f"cost of a million tokens{named}", cost, prices.currency, figure.ok, f"{note}, {words}")
    watts = power(_runs(result, side, point))
    if watts is not None:
        energy = watts * _MILLION / figure.value
        yield Answer(
            f"energy of a million tokens{named}", energy, "J", figure.ok, f"{note}, {watts:,.0f} W read"
        )


def best(result: Result, side: str) -> tuple[tuple[str, float] | None, Mapping[str, Setting]]:
    """The highest load that met the objective, as (key, load), and its point.

    Without one, the point that gave most among those that can be trusted.
    """
    for found in result.saturation:
        if found.side == side and found.met is not None:
            value: Setting = round(found.met) if found.key == "load.clients" else found.met
            return (found.key, found.met), {found.key: value}
    groups: dict[tuple[tuple[str, Setting], ...], list[RunRecord]] = {}
    for run in result.runs:
        if run.side == side and run.purpose == "run":
            groups.setdefault(tuple(run.point.items()), []).append(run)
    recipe = override(result.recipe, result.recipe.against) if side == "b" else result.recipe
    wanted = recipe.objective.share
    met = [point for point, runs in groups.items() if all((run.kept or 0.0) >= wanted for run in runs)]
    loads = [(load, dict(point)) for point in met if (load := _load(recipe, dict(point))) is not None]
    if recipe.objective.asks and loads:
        return max(loads, key=lambda pair: pair[0][1])
    own = [one for one in result.figures if one.side == side]
    for name in ("tokens", "throughput"):
        known = [one for one in own if one.name == name]
        if known:
            return None, max(known, key=lambda one: (one.ok, one.value)).point
    trusted = [one for one in own if one.ok]
    return None, (trusted or own)[0].point if own else {}


def _load(recipe: BenchRecipe, point: Mapping[str, Setting]) -> tuple[str, float] | None:
    """What was asked for at a point."""
    load = recipe.load
    if load.arrivals == "closed":
        return "load.clients", float(point.get("load.clients", load.clients))
    rate = point.get("load.rate", load.rate)
    return None if rate is None else ("load.rate", float(rate))


def _figures(result: Result, side: str, point: Mapping[str, Setting]) -> dict[str, Figure]:
    return {one.name: one for one in result.figures if one.side == side and dict(one.point) == dict(point)}


def _runs(result: Result, side: str, point: Mapping[str, Setting]) -> list[RunRecord]:
    return [
        run
        for run in result.runs
        if run.side == side and run.purpose == "run" and dict(run.point) == dict(point)
    ]


def power(runs: Sequence[RunRecord]) -> float | None:
    """Watts in the mean over the runs, all devices together; None where none could be read."""
    found = []
    for run in runs:
        own = [fmean(one.values) for one in run.series if one.name == "power" and one.values]
        if own:
            found.append(sum(own))
    return fmean(found) if found and len(found) == len(runs) else None


def _on(nodes: float) -> str:
    return "on one node" if nodes == 1 else f"on {nodes:g} nodes"
