"""One file laid over another, and where each value of the outcome comes from. Pure.

Mappings are merged key by key; null takes a key away. Lists of named things are merged by their names (``name``, or
else ``id`` or ``model``); to take one away, the overlay writes the list as a mapping from names to what changes in
them: ``partitions: {debug: null}``. Other lists and single values replace what was there. The base keeps its comments,
order and layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ai_how.errors import Problem, SpecError, UsageError
from ai_how.spec.check import Check
from ai_how.spec.document import Document, Edit, flow
from ai_how.spec.keys import identity, name_of, named
from ai_how.spec.load import Path, Position
from ai_how.spec.parse import SiteFile, parse
from ai_how.spec.provenance import Source, Value, values_of


@dataclass(frozen=True)
class Layer:
    """A text with its name, and who says it; a flag's ``name`` is the flag as it was given."""

    name: str
    text: str
    source: Source = Source.FILE


@dataclass(frozen=True)
class Merged:
    """The text, the site that it describes, and every value with its place in the layer that said it last."""

    text: str
    file: SiteFile
    values: tuple[Value, ...]


@dataclass(frozen=True)
class _Change:
    """What a layer does at ``path``: ``set``, ``add`` (at the end; a key, or an item), or ``remove``."""

    kind: str
    path: Path
    value: Any = None

    def edit(self, document: Document) -> Edit:
        if self.kind == "remove":
            return document.remove(self.path)
        if self.kind == "set":
            return document.replace(self.path, self.value)
        last = self.path[-1]
        return document.add(self.path[:-1], last if isinstance(last, str) else None, self.value)


def merge(base: Layer, *overlays: Layer, also: Iterable[Check] = ()) -> Merged:
    """Lay each overlay over what is below it.

    The outcome is checked as a whole, with the checks of rooms above too; a mistake is told where it was written.
    Raises :class:`SpecError`.
    """
    layers = (base, *overlays)
    documents = [Document(layer.text, layer.name) for layer in layers]
    merged = documents[0]
    for document in documents[1:]:
        merged = _laid_over(merged, document)
    origins = _origins(merged, list(zip(layers, documents, strict=True)))
    try:
        file = parse(merged.text, base.name, also)
    except SpecError as error:
        raise SpecError([_at_home(problem, merged, origins) for problem in error.problems]) from None
    found = values_of(file.spec, {path: origin.where for path, origin in origins.items()})
    flags = {origin.where for origin in origins.values() if origin.layer.source is Source.FLAG}
    told = (replace(value, source=Source.FLAG) if value.where in flags else value for value in found)
    return Merged(merged.text, file, tuple(told))


def setting(assignment: str) -> Layer:
    """The layer of one ``--set PATH=VALUE``; the value is read as YAML.

    Raises :class:`UsageError` when it is none, or counts items instead of naming them, and :class:`SpecError` when
    the value is no YAML.
    """
    path, sign, value = assignment.partition("=")
    if not sign or not all(path.strip().split(".")):
        raise UsageError(
            f"'{assignment}' sets nothing", todo="Write --set PATH=VALUE, such as metadata.name=lab."
        )
    if number := next((key for key in path.split(".") if key.strip().isdigit() or "[" in key), None):
        raise UsageError(
            f"'{number}' is no key: an item of a list is meant by its name",
            where=f"--set {assignment}",
            todo="Write the name, such as clusters.hpc.slurm_config.partitions.debug.nodes=2.",
        )
    name = f"--set {assignment}"
    data: Any = Document(f"value: {value}", name).data["value"]
    for key in reversed(path.strip().split(".")):
        data = {key: data}
    return Layer(name, flow(data), Source.FLAG)


def _laid_over(below: Document, above: Document) -> Document:
    changes = list(_changes(below.data, above.data, ()))
    # What is taken away goes last and from the end, so that the items before it keep their numbers until then.
    removed = [change for change in changes if change.kind == "remove"][::-1]
    for change in [change for change in changes if change.kind != "remove"] + removed:
        below = below.edited(change.edit(below))
    return below


@dataclass(frozen=True)
class _Origin:
    """The layer that said a value last, and the place in it."""

    layer: Layer
    at: Position

    @property
    def where(self) -> str:
        if self.layer.source is Source.FLAG:
            return self.layer.name
        return f"{self.layer.name}:{self.at.line}:{self.at.column}"


def _origins(merged: Document, layers: Sequence[tuple[Layer, Document]]) -> Mapping[Path, _Origin]:
    said: dict[Path, _Origin] = {}
    for layer, document in layers:
        for path, at in document.positions.items():
            said[named(document.data, path)] = _Origin(layer, at)
    paths = {path: named(merged.data, path) for path in merged.positions}
    return {path: said[name] for path, name in paths.items() if name in said}


def _at_home(problem: Problem, merged: Document, origins: Mapping[Path, _Origin]) -> Problem:
    """A mistake in the outcome, told at its place in the layer that it came from."""
    for path, at in merged.positions.items():
        if path in origins and (problem.line, problem.column) in ((at.line, at.column), at.key):
            home = origins[path]
            of_key = (problem.line, problem.column) == at.key and home.at.key
            line, column = of_key or (home.at.line, home.at.column)
            return replace(problem, file=home.layer.name, line=line, column=column)
    return problem


def _changes(below: Any, above: Any, path: Path) -> Iterator[_Change]:
    if isinstance(below, dict) and isinstance(above, dict):
        for key, value in above.items():
            if key not in below:
                if value is not None:
                    yield _Change("add", (*path, key), _without_nulls(value))
            elif value is None:
                yield _Change("remove", (*path, key))
            else:
                yield from _changes(below[key], value, (*path, key))
    elif isinstance(below, list) and (key := identity(path)) and (items := _items(above, key)) is not None:
        yield from _item_changes(below, items, key, path)
    elif below != above:
        yield _Change("set", path, _without_nulls(above))


def _items(above: Any, key: str) -> Mapping[Any, Any] | None:
    """The overlay's items by name, null for one to take away; None when it is neither a list nor such a mapping."""
    if isinstance(above, list) and all(isinstance(name_of(item, key), str) for item in above):
        return {name_of(item, key): item for item in above}
    if isinstance(above, dict) and all(value is None or isinstance(value, dict) for value in above.values()):
        return {name: None if value is None else {key: name, **value} for name, value in above.items()}
    return None


def _item_changes(below: list[Any], items: Mapping[Any, Any], key: str, path: Path) -> Iterator[_Change]:
    names = [name_of(item, key) for item in below]
    for name, item in items.items():
        if name not in names:
            if item is not None:
                yield _Change("add", (*path, len(names)), _without_nulls(item))
            continue
        at = names.index(name)
        if item is None:
            yield _Change("remove", (*path, at))
        elif isinstance(below[at], dict) and isinstance(item, dict):
            yield from _changes(below[at], item, (*path, at))
        elif isinstance(item, dict) and set(item) > {key}:  # a bare name gets something to say
            yield _Change("set", (*path, at), _without_nulls(item))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
