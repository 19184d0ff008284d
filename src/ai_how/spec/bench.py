"""The types of a bench recipe: what is measured, under which load, how often, and at which points. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ai_how.errors import Problem, SpecError
from ai_how.spec.bench_load import Key, Load, Objective, Prices, Search, Setting
from ai_how.spec.bench_target import (
    SECTIONS,
    Positive,
    Prompts,
    Request,
    Target,
    Workload,
    with_section,
)
from ai_how.spec.load import load, tuples
from ai_how.spec.message import did_you_mean
from ai_how.spec.parse import nearest, validate
from ai_how.spec.values import Frozen

__all__ = ["BenchRecipe", "Load", "Objective", "Prompts", "Request", "Search", "Target", "Workload", "override",
           "parse_bench", "points"]  # fmt: skip
#: Points that one recipe may have.
MOST_POINTS = 1000
#: What a sweep or a second side may change.
_VARIED = ("target", "workload", "load", "objective")


class BenchRecipe(Frozen):
    """One bench recipe: a file that says what is measured, and how."""

    version: Literal["1.0"] = Field(description="Version of this file's shape, in quotes.")
    kind: Literal["bench"] = Field(description="The kind of work.")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = Field(description="Name of the recipe.")
    description: str = Field("", description="One line about it.")
    target: Target = Field(description="What is measured.")
    workload: Workload = Field(default_factory=Workload, description="What is asked of it.")
    load: Load = Field(
        default_factory=lambda: Load(arrivals="closed"),
        description="How requests arrive; without it one client asks again and again.",
    )
    sweep: dict[Key, tuple[Setting, ...]] = Field(
        default_factory=dict,
        description="Keys of this file with their values, such as `load.rate: [1, 2]`; each combination is a point.",
    )
    search: Search | None = Field(None, description="Seek the highest load that meets the objective.")
    against: dict[Key, Setting] = Field(
        default_factory=dict,
        description="What a second side has otherwise, such as `target.url`; both are measured in turns.",
    )
    repetitions: int = Field(
        3, ge=1, le=100, description="Runs of each point; intervals and comparisons need several."
    )
    again: int = Field(
        2,
        ge=0,
        le=20,
        description="How often a run is measured again during which this machine sent too late.",
    )
    timeout: Positive = Field(60.0, description="Seconds after which a request that was sent has failed.")
    warmup: Literal["test", "none"] = Field(
        "test", description="`test`: what a test finds to be warm-up is cut; `none`: everything counts."
    )
    objective: Objective = Field(default_factory=Objective, description="What a good request keeps.")
    prices: Prices = Field(default_factory=Prices, description="A rate card, for the report's answers.")

    @model_validator(mode="before")
    @classmethod
    def _with_its_section(cls, data: Any) -> Any:
        return with_section(data)

    @model_validator(mode="after")
    def _fits_together(self) -> BenchRecipe:
        own = SECTIONS[self.target.api]
        others = [
            name for name in type(self.workload).model_fields if getattr(self.workload, name) and name != own
        ]
        if others:
            raise ValueError(
                f"'workload.{others[0]}' is nothing that a target of the api '{self.target.api}' is asked; "
                f"its section is '{own}'"
            )
        once = [key for key in self.sweep if key == "target.model" or key.startswith("target.deploy.")]
        if once and self.target.deploy is not None:
            raise ValueError(
                f"'{once[0]}' cannot be swept: a service is deployed once for all points; 'against' has a second"
            )
        if self.search is not None:
            if not self.objective.asks:
                raise ValueError("a search needs an 'objective': the highest load is one that meets it")
            if self.sweep:
                raise ValueError("a search finds its own points: 'sweep' and 'search' exclude each other")
            closed = self.load.arrivals == "closed"
            if (self.search.key == "load.clients") != closed or self.load.arrivals in ("ramp", "trace"):
                raise ValueError(
                    f"a search of '{self.search.key}' does not go with arrivals of the kind '{self.load.arrivals}'"
                )
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is measured: one, or both of a pair."""
        pair = self.workload.pair
        return (pair.first.target, pair.second.target) if pair else (self.target,)


def parse_bench(text: str, name: str) -> BenchRecipe:
    """A bench recipe from its text. Raises :class:`SpecError` with every mistake in it."""
    data, positions, problems = load(text, name)
    if problems:
        raise SpecError([problem for _, problem in problems])
    recipe = validate(BenchRecipe, data, positions, name)
    found = []
    for path, message, todo in _varied(recipe):
        at = nearest(positions, path)
        found.append(Problem(message, name, at.line, at.column, todo=todo))
    if found:
        raise SpecError(found)
    return recipe


def override(recipe: BenchRecipe, settings: Mapping[str, Setting]) -> BenchRecipe:
    """The recipe with other values at those keys. Raises :class:`ValueError` in words."""
    facts = recipe.model_dump(mode="json")
    for key, value in settings.items():
        *above, last = key.split(".")
        inner: Any = facts
        for part in above:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if above[0] not in _VARIED or not isinstance(inner, dict) or last not in inner:
            raise ValueError(f"there is no key '{key}' to vary")
        # A whole number where a fraction may stand is one; the file's strictness knows no difference of 1 and 1.0.
        inner[last] = value
    try:
        return BenchRecipe.model_validate(tuples(facts))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {said}" if where else said) from None


def points(recipe: BenchRecipe) -> Iterator[Mapping[str, Setting]]:
    """What is set at each point of the sweep, in its order; one empty point when there is no sweep."""
    for values in product(*recipe.sweep.values()):
        yield dict(zip(recipe.sweep, values, strict=True))


def _varied(recipe: BenchRecipe) -> Iterator[tuple[tuple[str | int, ...], str, str | None]]:
    """Each mistake in what the sweep and the second side set."""
    known = _keys(recipe.model_dump(mode="json"))
    for key in (*recipe.sweep, *recipe.against):
        if key not in known:
            place = ("sweep" if key in recipe.sweep else "against", key)
            yield place, f"there is no key '{key}' to vary", did_you_mean(key, known)
            return
    count = math.prod(len(values) for values in recipe.sweep.values())
    if count > MOST_POINTS:
        yield ("sweep",), f"{count:,} points; {MOST_POINTS:,} are the most", None
        return
    for key, values in recipe.sweep.items():
        if not values:
            yield ("sweep", key), f"'sweep.{key}' has no values", "Give one or more."
        for index, value in enumerate(values):
            try:
                override(recipe, {key: value})
            except ValueError as error:
                yield ("sweep", key, index), f"'sweep.{key}': {error}", None
    try:
        override(recipe, recipe.against)
    except ValueError as error:
        yield ("against",), f"'against': {error}", None


def _keys(facts: Mapping[str, Any], above: str = "") -> list[str]:
    """Every key that can be varied, dotted."""
    found: list[str] = []
    for key, value in facts.items():
        if not above and key not in _VARIED:
            continue
        inner = f"{above}{key}"
        found += _keys(value, f"{inner}.") if isinstance(value, dict) else [inner]
    return [key for key in found if "." in key]
