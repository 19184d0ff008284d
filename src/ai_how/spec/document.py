"""The text of a YAML file, changed in place: what an edit does not name keeps its every character. Pure.

Dumping a parsed file anew loses how it was laid out. Here each change is a replacement of a few characters, found
by the marks that the parser sets, so comments, order, quotes and alignment stay as somebody wrote them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from ai_how.errors import Problem, SpecError
from ai_how.spec.load import Path, load

Node = MappingNode | SequenceNode | ScalarNode

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Words that are the same text to every reader of YAML, old or new, without quotes.
_PLAIN = re.compile(r"^[A-Za-z][A-Za-z0-9_./-]*$")
_NO_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
#: The end of a value, and the room between it and a comment.
_BEFORE_COMMENT = re.compile(r"([\]}]*)( {2,})(?=#)")
_ANCHOR = re.compile(r"&[^\s,\[\]{}]+[ \t]+")
_STEP = 2
_WIDTH = 90


@dataclass(frozen=True)
class Edit:
    """Characters ``start`` to ``end`` become ``text``."""

    start: int
    end: int
    text: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits in it. They may touch, but not overlap; those at one place keep their order."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < at:
            raise ValueError("two edits overlap")
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def unified(old: str, new: str, name: str) -> str:
    """The difference as ``diff -u`` writes it; empty when there is none."""
    lines = difflib.unified_diff(lines_of(old), lines_of(new), name, f"{name} (new)")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def lines_of(text: str) -> list[str]:
    """Its lines as editors count them: other separators of Unicode are characters like any."""
    return [line + "\n" for line in text.split("\n")[:-1]] + [line for line in text.split("\n")[-1:] if line]


@dataclass(frozen=True)
class _Entry:
    """A key and its value in a mapping, or an item of a list (then ``key`` is none)."""

    holder: MappingNode | SequenceNode
    index: int
    key: ScalarNode | None
    value: Node
    alias: bool


class Document:
    """One YAML text with the place of everything in it. Raises :class:`SpecError` when it is no YAML mapping."""

    def __init__(self, text: str, name: str) -> None:
        # The marks do not count a byte order mark; nobody needs it.
        text = text.removeprefix("\ufeff")
        self.text, self.name = text, name
        self.data, self.positions, mistakes = load(text, name)
        if mistakes:
            raise SpecError([problem for _, problem in mistakes])
        root = yaml.compose(text, _LOADER)
        assert isinstance(root, MappingNode), "load() accepts nothing else"
        self._root = root
        self._known: dict[int, dict[str | int, _Entry]] = {}

    def edited(self, edit: Edit) -> Document:
        """The document after one edit."""
        return Document(apply(self.text, [edit]), self.name)

    def rename(self, path: Path, new: str) -> Edit:
        """Another name for the key at ``path``."""
        key = self._entry(path).key
        if key is None:
            raise ValueError("an item of a list has no key")
        return Edit(key.start_mark.index, key.end_mark.index, scalar(new))

    def replace(self, path: Path, value: Any) -> Edit:
        """Another value at ``path``."""
        entry = self._entry(path)
        start, end = self._value_start(entry), self._end(entry)
        if anchor := _ANCHOR.match(self.text, start):  # others may name it
            start = anchor.end()
        if isinstance(entry.value, ScalarNode) and start == end:
            return Edit(start, end, " " + flow(value))
        if not isinstance(entry.value, ScalarNode) and not entry.value.flow_style and entry.key is not None:
            start = entry.key.end_mark.index
            return Edit(start, end, ": " + flow(value))
        tail = self.text[start:end]
        return self._aligned(Edit(start, end, flow(value) + ("\n" if tail.endswith("\n") else "")))

    def source(self, path: Path) -> str:
        """The value at ``path`` as it is written."""
        entry = self._entry(path)
        return self.text[self._value_start(entry) : self._end(entry)]

    def remove(self, path: Path) -> Edit:
        """Without the entry at ``path``, and without the comment lines right above it."""
        entry = self._entry(path)
        if len(entry.holder.value) == 1:
            return self.replace(path[:-1], {} if isinstance(entry.holder, MappingNode) else [])
        if entry.holder.flow_style:
            return self._remove_from_flow(entry)
        start, end = self.span(path)
        if self.text[self._line_start(start) : start].strip():  # the first key behind a dash
            following = _entries(entry.holder)[entry.index + 1]
            return Edit(start, self._start(following), "")
        return Edit(start, end, "")

    def add(self, path: Path, key: str | None, value: Any) -> Edit:
        """A new entry at the end of the mapping at ``path`` (or, with no ``key``, of the list)."""
        holder = self._at(path)
        if isinstance(holder, ScalarNode):
            return self.replace(path, {key: value} if key is not None else [value])
        entries = _entries(holder)
        if holder.flow_style or not entries:
            text = flow(value) if key is None else f"{scalar(key)}: {flow(value)}"
            return self._aligned(self._add_to_flow(holder, entries, text))
        column = holder.start_mark.column
        lines = block({key: value} if key is not None else [value], column)
        at = self._line_end(self._end(entries[-1]))
        before = "" if at == 0 or self.text[at - 1] == "\n" else "\n"
        apart = "\n" if not path and "\n\n" in self.text.strip() and isinstance(value, dict) else ""
        return Edit(at, at, before + apart + lines)

    def is_own(self, path: Path) -> bool:
        """Whether what stands at ``path`` is written there, and not brought there by an alias or a merge key."""
        try:
            return self._entry(path) is not None
        except (KeyError, SpecError):
            return False

    def span(self, path: Path) -> tuple[int, int]:
        """The whole lines of an entry of a block, from the comment right above it to the end of its last line.

        The comment that opens the file stays out of it: it is about the file.
        """
        entry = self._entry(path)
        start = self._start(entry)
        line = self._line_start(start)
        if self.text[line:start].strip():
            return start, self._line_end(self._end(entry))
        return self._comment_start(line, start - line), self._line_end(self._end(entry))

    def keys(self, path: Path = ()) -> list[str]:
        """The keys that are written in the mapping at ``path``, in their order."""
        return [entry.key.value for entry in _entries(self._at(path)) if entry.key is not None]

    @property
    def in_blocks(self) -> bool:
        """Whether the outermost mapping has one line or more for each key, not all in braces."""
        return not self._root.flow_style

    # --- where things are ------------------------------------------------------------------------------

    def _at(self, path: Path) -> Node:
        return self._entry(path).value if path else self._root

    def _entry(self, path: Path) -> _Entry:
        node: Node = self._root
        found: _Entry | None = None
        for depth, part in enumerate(path):
            found = self._held(node).get(part)
            if found is None:
                raise KeyError(path)
            if found.alias:
                at = self.positions.get(path[: depth + 1]) or self.positions[()]
                raise SpecError(
                    [Problem("what stands here is written elsewhere (an alias, *name), so it cannot be changed alone",
                             self.name, at.line, at.column, todo="Write it out here, then try again.")]
                )  # fmt: skip
            node = found.value
        if found is None:
            raise KeyError(path)
        return found

    def _held(self, node: Node) -> dict[str | int, _Entry]:
        """What a mapping or list holds, by key or number."""
        if id(node) not in self._known:
            self._known[id(node)] = {
                one.index if one.key is None else str(one.key.value): one for one in _entries(node)
            }
        return self._known[id(node)]

    def _start(self, entry: _Entry) -> int:
        """Where an entry begins: its key, or the dash before an item."""
        if entry.key is not None:
            return int(entry.key.start_mark.index)
        start = int(entry.value.start_mark.index)
        return start if entry.holder.flow_style else self.text.rindex("-", 0, start)

    def _value_start(self, entry: _Entry) -> int:
        if entry.key is not None and (_is_empty(entry.value) or entry.alias):
            return int(entry.key.end_mark.index) + 1
        return int(entry.value.start_mark.index)

    def _end(self, entry: _Entry) -> int:
        if entry.alias:
            start = self._value_start(entry)
            found = re.compile(r"\s*\*[^\s,\]}]+").match(self.text, start)
            return found.end() if found else start
        if _is_empty(entry.value):
            return self._value_start(entry)
        if _is_block(entry.value):
            return self._end(_entries(entry.value)[-1])
        return int(entry.value.end_mark.index)

    def _aligned(self, edit: Edit) -> Edit:
        """With the comment behind it where it was, as far as there is room."""
        found = _BEFORE_COMMENT.match(self.text, edit.end)
        if found is None:
            return edit
        longer = len(edit.text) - (edit.end - edit.start)
        return Edit(edit.start, found.end(), edit.text + found[1] + " " * max(2, len(found[2]) - longer))

    def _line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        if at and self.text[at - 1] == "\n":  # a block of text ends where the next line begins
            return at
        found = self.text.find("\n", at)
        return len(self.text) if found < 0 else found + 1

    def _comment_start(self, line: int, indent: int) -> int:
        """Where the comment lines begin that stand right above ``line`` and as far in."""
        first = line
        while first:
            above = self._line_start(first - 1)
            if not self.text[above:first].startswith(" " * indent + "#"):
                return first
            first = above
        return line

    def _remove_from_flow(self, entry: _Entry) -> Edit:
        entries = _entries(entry.holder)
        if entry.index + 1 < len(entries):
            return Edit(self._start(entry), self._start(entries[entry.index + 1]), "")
        return Edit(self._end(entries[entry.index - 1]), self._end(entry), "")

    def _add_to_flow(self, holder: Node, entries: list[_Entry], text: str) -> Edit:
        if not entries:
            at = int(holder.end_mark.index) - 1
            return Edit(at, at, text)
        at = self._end(entries[-1])
        rest = self.text[at : holder.end_mark.index]
        comma = rest.find(",")
        return Edit(at, at, f", {text}") if comma < 0 else Edit(at + comma + 1, at + comma + 1, f" {text}")


def _entries(node: Node) -> list[_Entry]:
    if isinstance(node, MappingNode):
        return [
            _Entry(node, index, key, value, value.start_mark.index < key.end_mark.index)
            for index, (key, value) in enumerate(node.value)
        ]
    if isinstance(node, SequenceNode):
        # What begins before something that stands before it was written elsewhere: it came by an alias.
        starts = [item.start_mark.index for item in node.value]
        furthest = accumulate([node.start_mark.index, *starts], max)
        return [
            _Entry(node, index, None, item, start < before)
            for index, (item, start, before) in enumerate(zip(node.value, starts, furthest, strict=False))
        ]
    return []


def _is_block(node: Node) -> bool:
    return not isinstance(node, ScalarNode) and not node.flow_style and bool(node.value)


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.start_mark.index == node.end_mark.index


# --- values as text ---------------------------------------------------------------------------------------


def scalar(value: object) -> str:
    """One value as every reader of YAML understands it: in quotes whenever it might be taken for something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if _PLAIN.match(text) and text.lower() not in _NO_TEXT:
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char == "\n":
        return "\\n"
    return char if char.isprintable() else f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(inner) for inner in value) + "]"
    return scalar(value)


def block(value: Any, indent: int = 0) -> str:
    """A mapping or list in lines; what is short and flat inside stays on one line."""
    pad = " " * indent
    lines = []
    items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, inner in items:
        head = f"{pad}-" if key is None else f"{pad}{scalar(key)}:"
        line = f"{head} {flow(inner)}"
        if not isinstance(inner, dict | list | tuple) or (_is_flat(inner) and len(line) <= _WIDTH):
            lines.append(line + "\n")
        elif key is None:
            nested = block(inner, indent + _STEP)
            lines.append(f"{head} {nested[indent + _STEP :]}")
        else:
            lines.append(f"{head}\n{block(inner, indent + _STEP)}")
    return "".join(lines)


def _is_flat(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    return not value or not any(isinstance(one, dict | list | tuple) and one for one in inner)
