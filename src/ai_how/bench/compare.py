"""Two results side by side: what has changed, what cannot be told, and whether a gate lets it pass. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ai_how.bench.model import Figure, Result
from ai_how.bench.statistics import Change, compare, enough_runs
from ai_how.errors import CouldNotTell, NotFound

#: What is compared when nobody names figures. More of them would find less: each is one more chance for chance.
USUAL = ("latency.p50", "latency.p99", "first_token.p50", "first_token.p99", "token.p50", "goodput")
#: In a closed loop these too: in an open one they are the load that was asked for.
_OF_CLOSED = ("throughput", "tokens")
#: Keys of the recipe that may differ: they name what is compared, or how often.
_FREE = ("name", "description", "repetitions", "target.url", "target.model", "target.token_variable")
#: Facts of the environment that explain a difference.
_FACTS = ("machine", "processor", "cores", "kernel", "governor", "python", "gpus", "driver", "image")

Outcome = Literal["no change", "changed", "worse"]


@dataclass(frozen=True)
class Comparison:
    """What was found. ``left_out`` has each figure that failed its verdict on one side, with the reasons."""

    changes: tuple[Change, ...]
    left_out: Mapping[str, tuple[str, ...]]
    environment: tuple[str, ...]
    allowed: float

    @property
    def outcome(self) -> Outcome:
        if any(change.worse_by(self.allowed) for change in self.changes):
            return "worse"
        return "changed" if any(change.found for change in self.changes) else "no change"


def compared(before: Result, after: Result, figures: Sequence[str] = (), allowed: float = 0.0) -> Comparison:
    """Compare the figures that both have and that both can be trusted in.

    ``allowed`` is the share by which a figure may get worse. Raises :class:`CouldNotTell` when the two were measured in
    different ways, when they have too few runs to show anything, or when no figure is left to compare, and
    :class:`NotFound` for a figure that neither of them has.
    """
    differing = [f"{key}: {old} and {new}" for key, old, new in _differences(before, after)]
    if differing:
        raise CouldNotTell(
            "the two were measured in different ways",
            cause="; ".join(differing),
            todo="Measure both by one recipe; target, model and repetitions may differ.",
        )
    return _compared(before, after, figures, allowed)


def sides_compared(result: Result, figures: Sequence[str] = (), allowed: float = 0.0) -> Comparison:
    """The two sides of one result, which were measured in turns. Raises like :func:`compared`."""
    return _compared(side_of(result, "a"), side_of(result, "b"), figures, allowed, in_turns=True)


def side_of(result: Result, side: str) -> Result:
    """One side as a result of its own."""
    return result.model_copy(update={
        "runs": tuple(run for run in result.runs if run.side == side),
        "figures": tuple(figure for figure in result.figures if figure.side == side),
    })  # fmt: skip


def _compared(
    before: Result, after: Result, figures: Sequence[str], allowed: float, *, in_turns: bool = False
) -> Comparison:
    # Beside each other stand the two sides of one result, or each side with itself.
    label = (lambda figure: figure.key) if in_turns else labelled
    old, new = ({label(figure): figure for figure in result.figures} for result in (before, after))
    usual = (*USUAL, *_OF_CLOSED) if before.recipe.load.arrivals == "closed" else USUAL
    names = _chosen(figures, usual, old, new)
    left_out = {
        name: tuple(dict.fromkeys(old[name].reasons + new[name].reasons))
        for name in names
        if not (old[name].ok and new[name].ok)
    }
    kept = [name for name in names if name not in left_out]
    if kept:
        kept, uneven = _evenly(kept, old, new)
        left_out |= uneven
    if not kept:
        named = (("side a", old), ("side b", new)) if in_turns else (("before", old), ("after", new))
        reasons = [
            f"{which}: {reason}" for which, own in named for name in names for reason in own[name].reasons
        ]
        raise CouldNotTell(
            "no figure is left that both can be trusted in",
            cause=None if reasons else "they share no figure",
            detail="\n".join(dict.fromkeys(reasons)) or None,
            todo="Measure again, longer or with less going on beside it; `ai-how bench show` has every verdict.",
        )
    sides = len(old[kept[0]].runs), len(new[kept[0]].runs)
    if not enough_runs(*sides):
        raise CouldNotTell(
            f"{sides[0]} and {sides[1]} runs cannot show a change, whatever they measured",
            cause="so few can be dealt out in so few ways that none of them is rare",
            todo="Set `repetitions` to 5 or more: 4 on each side are the least.",
        )
    changes = compare(
        {name: old[name].runs for name in kept},
        {name: new[name].runs for name in kept},
        {name: old[name].better for name in kept},
        in_turns=in_turns,
    )
    return Comparison(changes, left_out, tuple(_environment(before, after)), allowed)


def labelled(figure: Figure) -> str:
    """A figure's key, with its side where it has one. Pure."""
    return f"{figure.key}, side {figure.side}" if figure.side else figure.key


def _evenly(
    names: Sequence[str], old: Mapping[str, Figure], new: Mapping[str, Figure]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Those that as many runs have as most of them, since runs are dealt out for all at once; why not the others."""
    counts = {name: (len(old[name].runs), len(new[name].runs)) for name in names}
    usual = max(counts.values(), key=lambda pair: (list(counts.values()).count(pair), pair))
    words = "it was measured in {} and {} runs, and others in {} and {}"
    uneven: dict[str, tuple[str, ...]] = {
        name: (words.format(*own, *usual),) for name, own in counts.items() if own != usual
    }
    return [name for name in names if name not in uneven], uneven


def _chosen(
    asked: Sequence[str], usual: Sequence[str], old: Mapping[str, Figure], new: Mapping[str, Figure]
) -> list[str]:
    both = [name for name in old if name in new]
    asked = [
        key for name in asked for key in ([name] if name in both else _at_points(name, both, old) or [name])
    ]
    missing = [name for name in asked if name not in both]
    if missing:
        raise NotFound(
            f"not both have a figure '{missing[0]}'", todo=f"Both have: {', '.join(both) or 'none'}."
        )
    return asked or [key for name in usual for key in _at_points(name, both, old)]


def _at_points(name: str, both: Sequence[str], old: Mapping[str, Figure]) -> list[str]:
    """A figure at each of its points."""
    return [key for key in both if name in (old[key].name, old[key].key)]


def _differences(before: Result, after: Result) -> Iterator[tuple[str, Any, Any]]:
    old, new = (dict(_flat(result.recipe.model_dump(mode="json"))) for result in (before, after))
    for key in old:
        if key not in _FREE and old[key] != new.get(key):
            yield key, old[key], new.get(key)


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _environment(before: Result, after: Result) -> Iterator[str]:
    for key in _FACTS:
        old, new = before.environment.get(key), after.environment.get(key)
        if old != new:
            yield f"{key}: {old} and {new}"
