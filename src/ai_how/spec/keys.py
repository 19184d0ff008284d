"""Every key that a file may have, with its meaning, kind, default and what is allowed: read off the types. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ai_how.spec.load import Path
from ai_how.spec.schema import FORMATS, schema

#: The keys that lead to a key. Lists are not counted: ``partitions.max_time`` is that of each partition.
KeyPath = tuple[str, ...]

#: The keys that tell the items of a list apart: the first of them that they have.
IDENTITIES = ("name", "id", "model")
#: What a text of a certain form is called, by its pattern.
_WORDS = {pattern: word for word, pattern in FORMATS.values()}
_PLURALS = {
    "mapping": "mappings",
    "text": "texts",
    "name": "names",
    "IPv4 address": "IPv4 addresses",
    "one of": "some of",
}
_KINDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}


@dataclass(frozen=True)
class Key:
    """One key. ``allowed`` holds the values where there are only so many; ``default`` is plain data, as in JSON;
    ``children`` are the keys of the mapping, or of each mapping of the list, that it holds."""

    path: KeyPath
    meaning: str
    kind: str
    required: bool
    default: Any
    allowed: tuple[Any, ...]
    children: tuple[str, ...]
    many: bool

    @property
    def dotted(self) -> str:
        return ".".join(self.path)


@cache
def keys(file: str = "cluster") -> Mapping[KeyPath, Key]:
    """Every key of ``cluster`` or ``recipe``, the outer before the inner, in the order of the types."""
    return keys_of(schema(file))


def keys_of(whole: Mapping[str, Any]) -> Mapping[KeyPath, Key]:
    """Every key that a JSON Schema of ours describes."""
    return {key.path: key for key in _keys(whole, whole, ())}


def identity(path: Path) -> str | None:
    """The key that tells the items of the list at ``path`` apart; None when nothing does."""
    key = keys().get(tuple(part for part in path if isinstance(part, str)))
    if key is None or not key.many:
        return None
    return next((name for name in IDENTITIES if name in key.children), None)


def name_of(item: Any, key: str) -> Any:
    """What an item of a list is called; a bare text is its own name."""
    return item.get(key) if isinstance(item, dict) else item


def named(data: Any, path: Path) -> Path:
    """The path with names in the place of numbers, where the items of a list have names."""
    found: list[str | int] = []
    for depth, part in enumerate(path):
        key = identity(path[:depth]) if isinstance(part, int) else None
        data = data[part]
        name = name_of(data, key) if key else None
        found.append(part if name is None else str(name))
    return tuple(found)


def key_path(path: tuple[str, ...]) -> KeyPath:
    """A path without the names of the things in lists that are on it."""
    found: KeyPath = ()
    inside = False
    for part in path:
        if inside and (*found, part) not in keys():
            inside = False
            continue
        found = (*found, part)
        inside = identity(found) is not None
    return found


def _keys(whole: Mapping[str, Any], mapping: Mapping[str, Any], path: KeyPath) -> Iterator[Key]:
    for name, field in mapping["properties"].items():
        inner, many = _held(whole, field)
        yield Key(
            path=(*path, name),
            meaning=field.get("description", ""),
            kind=_kind(whole, field),
            required=name in mapping.get("required", ()),
            default=field.get("default"),
            allowed=tuple(_allowed(field)),
            children=tuple(inner["properties"]) if inner else (),
            many=many,
        )
        if inner:
            yield from _keys(whole, inner, (*path, name))


def _choices(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = field.get("anyOf") or field.get("oneOf") or [field]
    return [choice for choice in found if choice.get("type") != "null"]


def _held(whole: Mapping[str, Any], field: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    """The mapping that a key holds, or that each item of its list is; and whether it may be a list."""
    found, many = None, False
    for choice in _choices(field):
        if "$ref" in choice:
            found = found or whole["$defs"][choice["$ref"].rsplit("/", 1)[1]]
        elif "items" in choice:
            found, many = found or _held(whole, choice["items"])[0], True
        elif "anyOf" in choice or "oneOf" in choice:
            inner, several = _held(whole, choice)
            found, many = found or inner, many or several
    return found, many


def _kind(whole: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """In words: ``integer, 1 to 16``, ``list of texts``, ``mapping or list of mappings``."""
    kinds = dict.fromkeys(_kind_of(whole, choice) for choice in _choices(field))
    if "time" in kinds:  # a bare number is one, too: of minutes
        return "time"
    return " or ".join(kinds)


def _kind_of(whole: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    if "anyOf" in choice or "oneOf" in choice:
        return _kind(whole, choice)
    if "$ref" in choice:
        return "mapping"
    if "const" in choice or "enum" in choice:
        return "one of"
    if "type" not in choice:
        return "anything"
    if choice["type"] == "array":
        items = " or ".join(_PLURALS.get(kind, kind) for kind in _kind(whole, choice["items"]).split(" or "))
        return f"list of {items}"
    if choice["type"] == "object":
        return "mapping of names to values"
    if choice.get("pattern") in _WORDS:
        return _WORDS[choice["pattern"]]
    low, high = choice.get("minimum"), choice.get("maximum")
    text = _KINDS[choice["type"]]
    if low is None:
        return text
    return f"{text}, {low} to {high}" if high is not None else f"{text}, {low} or more"


def _allowed(field: Mapping[str, Any]) -> Iterator[Any]:
    for choice in _choices(field):
        if "const" in choice:
            yield choice["const"]
        yield from choice.get("enum", ())
        if "items" in choice:
            yield from _allowed(choice["items"])
        elif "anyOf" in choice or "oneOf" in choice:
            yield from _allowed(choice)
