"""What pydantic finds, in words: the value, what is allowed, what was probably meant, and where to read on. Pure."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ai_how.spec.compose import Path, short

#: Where the page of a file's keys lies in the docs, by the name of the type.
PAGES = {
    "SiteSpec": "reference/cluster-yaml.html",
    "Recipe": "reference/recipe-yaml.html",
    "BenchRecipe": "reference/bench-yaml.html",
}


class Fault(NamedTuple):
    """A mistake: where, in words, what to do.

    ``touches`` is the key that it leaves unknown; ``at_key`` tells that the key itself is the mistake, not its value.
    """

    path: Path
    message: str
    todo: str | None
    touches: Path
    at_key: bool = False


def faults(model: type[BaseModel], details: Sequence[ErrorDetails]) -> Iterator[Fault]:
    """Every mistake that stands for itself: not those that only follow from others."""
    known = [(keys_of(detail), detail) for detail in details]
    around = {path[:length] for path, _ in known for length in range(len(path))}
    meant = {_meant(model, path) for path, detail in known if detail["type"] == "extra_forbidden"}
    outside = _outside(model, known)
    for path, detail in known:
        if path in outside.values() or (path in outside and _before(outside, path)):
            # A mapping without a value, whose keys stand beside it, is told once: at the first of them.
            continue
        if path in outside:
            todo = f"It belongs in '{dotted(outside[path])}': indent it, and what follows, by more."
            yield _fault(model, path, detail)._replace(todo=todo)
            continue
        if detail["type"] == "too_short" and path in around:
            # A list whose entries are wrong is not also too short.
            continue
        if detail["type"] == "missing" and path in meant:
            # A key that is there under a misspelt name is not also missing.
            continue
        yield _fault(model, path, detail)


def _outside(model: type[BaseModel], known: Sequence[tuple[Path, ErrorDetails]]) -> dict[Path, Path]:
    """Unknown keys that belong in a mapping right beside them that has no value: their indentation slipped."""
    empty = [
        path for path, detail in known if path and detail["input"] is None and detail["type"] != "missing"
    ]
    return {
        path: home
        for path, detail in known
        if detail["type"] == "extra_forbidden"
        for home in empty
        if home[:-1] == path[:-1] and path[-1] in fields_at(model, home)
    }


def _before(outside: Mapping[Path, Path], path: Path) -> bool:
    """Whether another key of the same mapping is told already."""
    return next(first for first, home in outside.items() if home == outside[path]) != path


def keys_of(detail: ErrorDetails) -> Path:
    """Where the mistake is; a part in angle brackets names one of several shapes, not a key."""
    return tuple(part for part in detail["loc"] if not (isinstance(part, str) and part.startswith("<")))


def link(model: type[BaseModel], path: Path) -> str | None:
    """The place in the reference that lists the keys around ``path``: page and anchor."""
    page = PAGES.get(model.__name__)
    if page is None:
        return None
    words: list[str] = []
    for part in path:
        if isinstance(part, str):
            if not fields_at(model, (*words, part)):
                break
            words.append(part)
    return f"{page}#{'-'.join(words)}" if words else page


def close_to(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` was probably meant to be."""
    names = list(known)
    lowered = {name.lower(): name for name in reversed(names)}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), lowered, n=1, cutoff=0.6) or (
        difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    )
    return lowered[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "There are") -> str:
    """``Did you mean ...?``, or all that there is."""
    names = list(known)
    close = close_to(word, names)
    return f"Did you mean '{close}'?" if close else f"{otherwise}: {', '.join(names) or 'none'}."


def fields_at(model: type[BaseModel], path: Sequence[str | int]) -> Mapping[str, Any]:
    """The fields of the model that a path leads to; none when it leads to something else."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        field = _fields(current).get(part)
        found = _model_in(field.annotation) if field is not None else None
        if found is None:
            return {}
        current = found
    return _fields(current)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or key: field for key, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside Optional[...], tuple[..., ...] and Annotated[...]."""
    # `tuple[X, ...]` is an instance of `type` in some versions of Python; what has an origin is looked into.
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    for inner in typing.get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None


def _meant(model: type[BaseModel], path: Path) -> Path | None:
    """The key that an unknown one was probably meant to be."""
    close = close_to(str(path[-1]), tuple(fields_at(model, path[:-1])))
    return (*path[:-1], close) if close else None


def _fault(model: type[BaseModel], path: Path, detail: ErrorDetails) -> Fault:
    kind = detail["type"]
    if kind == "extra_forbidden":
        inside = f" in '{dotted(path[:-1])}'" if path[1:] else ""
        message = f"unknown key '{short(path[-1])}'{inside}"
        return Fault(path, message, _place_of(model, path), _meant(model, path) or path, True)
    field = fields_at(model, path[:-1]).get(str(path[-1])) if path else None
    meaning = field.description if field is not None else None
    if kind == "missing":
        return Fault(path, f"'{dotted(path)}' is missing", meaning, path)
    if detail["input"] is None:
        hint = "Write one." if field is not None and field.is_required() else "Write one, or remove the key."
        return Fault(path, f"'{dotted(path)}' has no value", _sentences(hint, meaning), path)
    message, todo = _wrong(kind, dotted(path), detail, meaning)
    return Fault(path, message, todo, path)


def _place_of(model: type[BaseModel], path: Path) -> str:
    """Where an unknown key was meant to go."""
    word, known = str(path[-1]), list(fields_at(model, path[:-1]))
    if close_to(word, known) is None:
        homes = [".".join(home) for home, keys in _mappings(model, ()) if word in keys]
        if len(homes) == 1:
            return f"It belongs in '{homes[0]}'." if homes[0] else "It belongs at the top level."
    return did_you_mean(word, known, "Allowed here")


def _mappings(
    model: type[BaseModel], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    fields = _fields(model)
    yield path, fields
    for key, field in fields.items():
        if (inner := _model_in(field.annotation)) is not None:
            yield from _mappings(inner, (*path, key))


#: Kinds of values, by pydantic's names of what is wrong.
_WANTED = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "bool_type": "true or false", "string_type": "text", "tuple_type": "a list", "dict_type": "a mapping",
    "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip
_TRUE = {"yes", "on", "y", "enabled", "true", "1"}
_FALSE = {"no", "off", "n", "disabled", "false", "0"}


def _wrong(kind: str, where: str, detail: ErrorDetails, meaning: str | None) -> tuple[str, str | None]:
    value, context = detail["input"], detail.get("ctx", {})
    if kind in _WANTED:
        return f"'{where}' should be {_WANTED[kind]}, not {show(value)}", _sentences(
            _repair(kind, value), meaning
        )
    if kind == "literal_error":
        allowed = str(context.get("expected", ""))
        names = [name.strip("'") for name in allowed.replace(" or ", ", ").split(", ")]
        hint = "Put it in quotes." if str(value) in names else None
        if hint is None and isinstance(value, str) and (close := close_to(value, names)):
            hint = f"Did you mean '{close}'?"
        return f"'{where}' should be {allowed}, not {show(value)}", _sentences(hint, meaning)
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind == "value_error":
        return text, meaning
    if kind == "too_short":
        return (
            f"'{where}' is a list of at least {context.get('min_length', 1)}, and this one is empty",
            meaning,
        )
    shown = "" if isinstance(value, dict | list | tuple) else f", not {show(value)}"
    return f"'{where}' {text}{shown}", meaning


def _repair(kind: str, value: Any) -> str | None:
    """What was probably meant by a value of another kind."""
    word = value.strip().lower() if isinstance(value, str) else ""
    if kind.startswith("int") and word.isdigit():
        return f"Write {word} without quotes."
    if kind == "bool_type" and word in _TRUE | _FALSE:
        return f"Write {'true' if word in _TRUE else 'false'}, without quotes."
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "Put it in quotes."
    if kind == "tuple_type" and isinstance(value, str | int | float):
        return f"Write [{value}]."
    return None


def _sentences(*parts: str | None) -> str | None:
    return " ".join(part for part in parts if part) or None


def dotted(path: Path) -> str:
    """A path as people read it: ``clusters.hpc.slurm_config.partitions[1].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{short(part)}" if text else short(part)
    return text


def show(value: Any) -> str:
    """A value as the file has it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"'{short(value)}'" if isinstance(value, str) else short(value)
