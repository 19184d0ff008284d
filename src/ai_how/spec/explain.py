"""What a key means, what it may be, what it is here and who said so. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from ai_how.errors import NotFound
from ai_how.spec.document import Document
from ai_how.spec.keys import Key, KeyPath, key_path, keys, named
from ai_how.spec.load import Path
from ai_how.spec.message import close_to, link
from ai_how.spec.model import SiteSpec
from ai_how.spec.parse import SiteFile
from ai_how.spec.provenance import Value, plain, values
from ai_how.spec.template import PURPOSES, template

_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
#: A comment behind a value.
_COMMENT = re.compile(r" {2,}# .*$", re.MULTILINE)
_EXAMPLES = 3
_LINES = 8


@dataclass(frozen=True)
class Explanation:
    """One key.

    ``values`` are those it has in the file, several where it is a key of a list's items, and those of the keys inside
    it where it holds a mapping; their paths have names where lists have numbers. ``places`` are the lines where it
    stands, each with the names of the items of lists that it is, or is in. ``examples`` are pieces of YAML.
    """

    key: Key
    children: tuple[Key, ...]
    values: tuple[Value, ...]
    places: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]

    @property
    def link(self) -> str | None:
        return link(SiteSpec, self.key.path)

    def here(self, key: Key) -> tuple[tuple[str, Value], ...]:
        """The values of this key or of one inside it, each with the names of the items of lists that it is in."""
        return tuple(
            (".".join(_between(value.path, key.path)), value)
            for value in self.values
            if key_path(tuple(str(part) for part in value.path)) == key.path
        )

    def as_json(self) -> dict[str, object]:
        key = self.key
        return {
            "path": key.dotted, "meaning": key.meaning, "kind": key.kind, "required": key.required,
            "default": key.default, "allowed": key.allowed,
            "children": [{"key": child.path[-1], "meaning": child.meaning} for child in self.children],
            "values": [value.as_json() for value in self.values],
            "places": [{"name": name or None, "where": where} for name, where in self.places],
            "examples": self.examples, "link": self.link,
        }  # fmt: skip


def explain(asked: str, file: SiteFile | None = None) -> Explanation:
    """Explain the key that ``asked`` names: ``clusters.hpc.provider``, ``partitions[0].max_time``,
    ``partitions.debug.max_time``; its last words are enough where only one key ends so. Without words, the whole file.

    Raises :class:`NotFound` with what may have been meant.
    """
    path, chosen = resolve(asked)
    key = keys()[path] if path else _top()
    return Explanation(
        key=key,
        children=tuple(keys()[(*path, name)] for name in key.children),
        values=tuple(_values(file, path, chosen)) if file else (),
        places=tuple(_places(file, path, chosen)) if file and path else (),
        examples=_examples(path),
    )


def _values(file: SiteFile, key: KeyPath, chosen: Mapping[int, str]) -> Iterator[Value]:
    data = plain(file.spec)
    for value in values(file):
        names = named(data, value.path)
        if _concerns(value.path, names, key, chosen):
            yield replace(value, path=names)


def _places(file: SiteFile, key: KeyPath, chosen: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    data = plain(file.spec)
    for path in file.positions:
        try:
            names = named(data, path)
        except (KeyError, IndexError, TypeError):  # the inside of a short form
            continue
        if _concerns(path, names, key, chosen) and key_path(tuple(map(str, names))) == key:
            yield ".".join(_between(names, key)), file.where(*path)


def _between(path: Path, key: KeyPath) -> Iterator[str]:
    """What is in a path besides the keys: the names of items."""
    rest = list(key)
    for part in path:
        if rest and part == rest[0]:
            rest.pop(0)
        else:
            yield str(part)


def resolve(asked: str) -> tuple[KeyPath, dict[int, str]]:
    """The key, and which items of lists on the way to it are meant: by the depth of the list, an index or a name."""
    parts = [number or word for number, word in _PART.findall(asked)]
    if (found := _follow(parts)) is not None:
        return found
    starts = [path[:-1] for path in keys() if parts and path[-1] == parts[0]]
    ends = [end for start in starts if (end := _follow([*start, *parts])) is not None]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise NotFound(
            f"{len(ends)} keys end in '{asked}'",
            todo="Say more of the one that you mean.",
            detail="\n".join(".".join(path) for path, _ in ends),
        )
    raise _unknown(parts)


def _follow(parts: list[str]) -> tuple[KeyPath, dict[int, str]] | None:
    path: KeyPath = ()
    chosen: dict[int, str] = {}
    for part in parts:
        if (*path, part) in keys():
            path = (*path, part)
        elif path and keys()[path].many and len(path) not in chosen:
            chosen[len(path)] = part
        else:
            return None
    return path, chosen


def _unknown(parts: list[str]) -> NotFound:
    known = len(parts)
    while _follow(parts[:known]) is None:
        known -= 1
    around, _ = _follow(parts[:known]) or ((), {})
    siblings = (keys()[around] if around else _top()).children
    near = close_to(parts[known], siblings)
    last = close_to(parts[-1], dict.fromkeys(path[-1] for path in keys()))
    close = (
        [".".join((*around, near))]
        if near
        else [".".join(path) for path in sorted(keys(), key=len) if path[-1] == last]
    )
    inside = f" in '{'.'.join(around)}'" if around else ""
    todo = (
        f"Did you mean {' or '.join(close[:_EXAMPLES])}?" if close else f"There are: {', '.join(siblings)}."
    )
    return NotFound(f"there is no key '{parts[known]}'{inside}", todo=todo)


def _concerns(path: Path, names: Path, key: KeyPath, chosen: Mapping[int, str]) -> bool:
    """Whether a value belongs to the key, in the items that were chosen by number or name."""
    at = 0
    for part, name in zip(path, names, strict=True):
        if isinstance(part, int):
            if chosen.get(at, str(part)) not in (str(part), str(name)):
                return False
        elif at < len(key):
            if part != key[at]:
                return False
            at += 1
    return at == len(key)


@cache
def _templates() -> tuple[Document, ...]:
    return tuple(Document(template(kind), kind) for kind in PURPOSES)


def _examples(key: KeyPath) -> tuple[str, ...]:
    """How the templates write it: the shortest first, each once."""
    found = {text for document in _templates() for text in _written(document, key)}
    return tuple(sorted(found, key=lambda text: (text.count("\n"), len(text), text))[:_EXAMPLES])


def _written(document: Document, key: KeyPath) -> Iterator[str]:
    for path in document.positions:
        if not key or tuple(part for part in path if isinstance(part, str)) != key or path[-1] != key[-1]:
            continue
        start, end = document.span(path)
        lines = document.text[start:end]
        if "\n" in lines.strip("\n"):
            text = _COMMENT.sub("", textwrap.dedent(lines)).rstrip()
            if text.count("\n") < _LINES:
                yield text
        else:
            yield f"{key[-1]}: {document.source(path)}"


@cache
def _top() -> Key:
    outermost = tuple(path[0] for path in keys() if len(path) == 1)
    return Key((), "The whole file: one site.", "mapping", True, None, (), outermost, False)
