"""YAML's events into a tree of nodes, each with its mark. Pure.

YAML is read as version 1.2 has it: ``no`` is a word, ``24:00:00`` a time, and nothing in a file makes an object. The
events come from libyaml; the tree is built here without recursion, because libyaml's own builder ends the process
when a document is nested deeply enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from ai_how.errors import Problem, SpecError

Path = tuple[str | int, ...]
#: Mappings in mappings: a site's file has nine.
DEEPEST = 64

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9][0-9_]*\Z|0o[0-7_]+\Z|0x[0-9a-fA-F_]+\Z")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z"
)
_SPECIAL = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"),
}  # fmt: skip
#: What a number or a special word can begin with; all else is text without a closer look.
_MAYBE = frozenset("0123456789+-.~nNtTfF")


@dataclass(slots=True)
class Node:
    """A scalar's value; a list of nodes; or a mapping's keys, each with its mark and its node."""

    value: Any
    mark: Any
    keys: dict[str, tuple[Any, Node]] | None = None
    items: list[Node] | None = None


def events(text: str) -> Iterator[Event]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


@dataclass
class _Open:
    """A mapping or a list that has not ended yet. ``key`` waits for its value; ``merged`` came by ``<<``."""

    node: Node
    path: Path
    key: tuple[str, Any] | None = None
    skip: bool = False
    merged: list[Node] = field(default_factory=list)


class Builder:
    """Events into a tree of nodes; a node that an alias names is the same object in both places."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[tuple[Path, Problem]] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None

    def build(self, events: Iterator[Event]) -> Node | None:
        """The document's root; None of an empty text."""
        documents = 0
        for event in events:
            kind = type(event)
            if kind is ScalarEvent:
                self._scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._begin(event, kind is MappingStartEvent)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._end()
            elif kind is AliasEvent:
                self._alias(event)
            elif kind is DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._stop(
                        event.start_mark, "a second document begins here; a file holds one", "Remove it."
                    )
        return self._root

    def _scalar(self, event: Any) -> None:
        opened = self._stack[-1] if self._stack else None
        if opened is not None and opened.node.keys is not None and opened.key is None:
            self._key(opened, event.value, event.start_mark)
            return
        value = self._resolved(event)
        node = Node(value, event.start_mark)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._place(node)

    def _resolved(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            return scalar(event.value) if event.implicit[0] else event.value
        if tag == _TAG + "str":
            return event.value
        if tag.startswith(_TAG) and tag.removeprefix(_TAG) in ("int", "float", "bool", "null"):
            return scalar(event.value)
        self._no_tag(tag, event.start_mark)
        return event.value

    def _no_tag(self, tag: str, mark: Any) -> None:
        written = "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
        self._note(mark, f"the tag '{short(written)}' means nothing here", "Remove the tag.")

    def _key(self, opened: _Open, key: str, mark: Any) -> None:
        assert opened.node.keys is not None
        opened.key = (key, mark)
        first = opened.node.keys.get(key)
        opened.skip = first is not None and key != "<<"
        if first is not None and opened.skip:
            self._note(
                mark,
                f"the key '{short(key)}' stands here a second time; the first is in line {first[0].line + 1}",
                "Keep one of the two.",
            )

    def _begin(self, event: Any, mapping: bool) -> None:
        opened = self._stack[-1] if self._stack else None
        if opened is not None and opened.node.keys is not None and opened.key is None:
            self._stop(
                event.start_mark, "a key is a mapping or a list; keys are plain words", "Write a word."
            )
        if len(self._stack) >= DEEPEST:
            self._stop(event.start_mark, f"more than {DEEPEST} mappings and lists inside each other", None)
        if event.tag is not None and event.tag not in ("!", _TAG + "map", _TAG + "seq"):
            self._no_tag(event.tag, event.start_mark)
        node = Node(None, event.start_mark, {} if mapping else None, None if mapping else [])
        if event.anchor:
            self._anchors[event.anchor] = node
        self._stack.append(_Open(node, self._path()))

    def _end(self) -> None:
        opened = self._stack.pop()
        for source in opened.merged:
            for key, entry in (source.keys or {}).items():
                assert opened.node.keys is not None
                opened.node.keys.setdefault(key, entry)
        self._place(opened.node)

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._stop(event.start_mark, f"the alias '*{short(event.anchor)}' has no anchor above it", None)
            return
        if any(opened.node is node for opened in self._stack):
            self._stop(
                event.start_mark, f"the alias '*{short(event.anchor)}' stands inside what it names", None
            )
        opened = self._stack[-1] if self._stack else None
        if opened is not None and opened.node.keys is not None and opened.key is None:
            self._stop(event.start_mark, "a key cannot be an alias", "Write the key itself.")
        # The value is that of the anchor; it stands where the alias is.
        self._place(Node(node.value, event.start_mark, node.keys, node.items))

    def _place(self, node: Node) -> None:
        if not self._stack:
            self._root = node
            return
        opened = self._stack[-1]
        if opened.node.items is not None:
            opened.node.items.append(node)
            return
        assert opened.key is not None and opened.node.keys is not None
        (key, mark), opened.key = opened.key, None
        if key == "<<":
            self._merge(opened, node)
        elif not opened.skip:
            opened.node.keys[key] = (mark, node)

    def _merge(self, opened: _Open, node: Node) -> None:
        sources = [node] if node.items is None else node.items
        if any(source.keys is None for source in sources):
            self._note(node.mark, "'<<' takes in a mapping, or a list of them, by their aliases", None)
            return
        opened.merged.extend(sources)

    def _path(self) -> Path:
        if not self._stack:
            return ()
        opened = self._stack[-1]
        if opened.node.items is not None:
            return (*opened.path, len(opened.node.items))
        return (*opened.path, opened.key[0] if opened.key else "")

    def _note(self, mark: Any, message: str, todo: str | None) -> None:
        self.problems.append(
            (self._path(), Problem(message, self.name, mark.line + 1, mark.column + 1, todo=todo))
        )

    def _stop(self, mark: Any, message: str, todo: str | None) -> None:
        self._note(mark, message, todo)
        raise SpecError([problem for _, problem in self.problems])


def scalar(text: str) -> Any:
    """What a plain word of YAML 1.2 stands for: nothing, true or false, a number, or text."""
    if not text:
        return None
    if text[0] not in _MAYBE:
        return text
    if text in _SPECIAL:
        return _SPECIAL[text]
    try:
        if _INT.match(text):
            return int(text.replace("_", ""), 0 if text[:2] in ("0x", "0o") else 10)
        if _FLOAT.match(text):
            return float(text.replace("_", ""))
    except ValueError:  # more digits than Python reads, or none behind 0x
        return text
    return text


def short(value: object) -> str:
    """At most 60 characters of it."""
    try:
        text = str(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
