"""Text in, a checked :class:`SiteFile` out; or every mistake at once, each with its line and column."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ai_how.errors import Problem, SpecError
from ai_how.spec.check import cross_check
from ai_how.spec.model import SiteSpec

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Position:
    """Where a key or a value stands; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class SiteFile:
    """A checked file: the site it describes, and the position of every value that was written in it."""

    name: str
    spec: SiteSpec
    positions: Mapping[Path, Position]
    warnings: tuple[Problem, ...] = ()

    def where(self, *path: str | int) -> str:
        """``file:line:column`` of a value, or of the nearest one around it that is written in the file."""
        position = nearest(self.positions, path)
        return f"{self.name}:{position.line}:{position.column}"


def parse(text: str, name: str = "cluster.yaml") -> SiteFile:
    """Parse and check. Raises :class:`SpecError` with every mistake found."""
    data, positions = load(text, name)
    spec = validate(SiteSpec, data, positions, name)
    problems = [
        Problem(message, name, *_at(positions, path), todo=todo) for path, message, todo in cross_check(spec)
    ]
    if problems:
        raise SpecError(problems)
    return SiteFile(name, spec, positions)


Model = typing.TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], data: Any, positions: Mapping[Path, Position], name: str) -> Model:
    """Data into a type; pydantic's complaints become :class:`Problem` with positions."""
    try:
        # Strictness is right for values (no "4" for 4), but YAML has no tuples: they come in as JSON would.
        return model.model_validate(_tuples(data))
    except ValidationError as error:
        problems = [_problem(model, detail, positions, name, data) for detail in _telling(error.errors())]
        raise SpecError(sorted(problems, key=lambda p: (p.line, p.column))) from None


def load(text: str, name: str) -> tuple[Any, dict[Path, Position]]:
    """YAML into plain data and the position of each value. Raises :class:`SpecError`."""
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = "no valid YAML: " + (error.problem or str(error)).strip().splitlines()[0]
        raise SpecError([Problem(message, name, line, column)]) from None
    except YAMLError as error:
        raise SpecError([Problem(f"no valid YAML: {str(error).splitlines()[0]}", name, 1, 1)]) from None
    if not isinstance(tree, CommentedMap):
        found = "nothing" if tree is None else "a list" if isinstance(tree, CommentedSeq) else f"'{tree}'"
        raise SpecError(
            [Problem(f"a mapping is expected at the top, {found} was found", name, 1, 1,
                     todo="`ai-how init` writes a file to start from.")]
        )  # fmt: skip
    positions: dict[Path, Position] = {(): Position(1, 1)}
    positions.update(_positions(tree, ()))
    return _plain(tree), positions


def nearest(positions: Mapping[Path, Position], path: Path) -> Position:
    """Position of ``path``, or of the closest thing around it."""
    while path not in positions:
        path = path[:-1]
    return positions[path]


def _at(positions: Mapping[Path, Position], path: Path) -> tuple[int, int]:
    position = nearest(positions, path)
    return position.line, position.column


def _positions(node: Any, path: Path) -> Iterator[tuple[Path, Position]]:
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            nested = isinstance(value, (CommentedMap, CommentedSeq))
            line, column = node.lc.key(key) if nested else node.lc.value(key)
            yield (*path, key), Position(line + 1, column + 1)
            yield from _positions(value, (*path, key))
    elif isinstance(node, CommentedSeq):
        for index, value in enumerate(node):
            # A list with a tag of its own (`!tag [..]`) keeps no positions of its items.
            line, column = node.lc.item(index) or (node.lc.line, node.lc.col)
            yield (*path, index), Position(line + 1, column + 1)
            yield from _positions(value, (*path, index))


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _tuples(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(_tuples(value) for value in data) if isinstance(data, list) else data


def _telling(details: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Without those that only follow from others: a list whose items are wrong is not also too short."""
    places = [detail["loc"] for detail in details]
    for detail in details:
        inside = len(detail["loc"])
        if detail["type"] == "too_short" and any(
            len(place) > inside and place[:inside] == detail["loc"] for place in places
        ):
            continue
        yield detail


def _problem(
    model: type[BaseModel], detail: ErrorDetails, positions: Mapping[Path, Position], name: str, data: Any
) -> Problem:
    # What stands in angle brackets names a choice between two shapes, not a key.
    path = tuple(part for part in detail["loc"] if not str(part).startswith("<"))
    where = ".".join(str(part) for part in path)
    todo = None
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        message = f"unknown key '{path[-1]}'" + (f" in '{'.'.join(map(str, path[:-1]))}'" if path[1:] else "")
        close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        todo = f"Did you mean '{close[0]}'?" if close else f"Allowed here: {', '.join(known)}."
    elif detail["type"] == "missing":
        message = f"'{where}' is missing"
        field = _fields_at(model, path[:-1]).get(str(path[-1]))
        todo = field.description if field is not None else None
    else:
        value = detail["input"]
        shown = (
            ""
            if isinstance(value, (dict, tuple, list)) or str(value) in detail["msg"]
            else f", not {value!r}"
        )
        text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
        text = text if detail["type"] == "value_error" else f"'{where}' {text}"
        message = text + shown
        field = _fields_at(model, path[:-1]).get(str(path[-1])) if path else None
        todo = field.description if field is not None else None
    return Problem(message, name, *_at(positions, path), todo=todo)


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    return [field.alias or key for key, field in _fields_at(model, path).items()]


def _fields_at(model: type[BaseModel], path: Path) -> dict[str, Any]:
    """The fields of the model that a path leads to; none when it leads to something else."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        fields = {field.alias or key: field for key, field in current.model_fields.items()}
        if part not in fields:
            return {}
        found = _model_in(fields[part].annotation)
        if found is None:
            return {}
        current = found
    return {field.alias or key: field for key, field in current.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside Optional[...], tuple[..., ...] and Annotated[...]."""
    # `tuple[X, ...]` is an instance of `type` in some versions of Python; what has an origin is looked into.
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    for inner in typing.get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None
