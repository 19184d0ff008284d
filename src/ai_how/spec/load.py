"""YAML into plain data, and where each value stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from ai_how.errors import Problem, SpecError
from ai_how.spec.compose import DEEPEST, Builder, Node, Path, events, short

__all__ = ["Loaded", "Path", "Position", "load", "nearest", "tuples"]

#: Characters of one file: a thousand nodes have a quarter of a million.
LARGEST = 16 * 2**20
#: Values of one file, those that come by an alias counted each time: a thousand nodes have ten thousand.
MOST = 200_000


class Position(NamedTuple):
    """Where a value stands, or the key of a mapping or a list; ``key`` is where its key stands. All count from 1."""

    line: int
    column: int
    key: tuple[int, int] | None = None


class Loaded(NamedTuple):
    """What a text says, where each value stands, and mistakes that did not keep it from being read."""

    data: dict[str, Any]
    positions: dict[Path, Position]
    problems: tuple[tuple[Path, Problem], ...] = ()


def load(text: str, name: str) -> Loaded:
    """The data of a YAML text. Raises :class:`SpecError` when it is no mapping in valid YAML."""
    if len(text) > LARGEST:
        message = f"a file of {len(text)} characters; {LARGEST} are the most that is read"
        raise SpecError([Problem(message, name, 1, 1, todo="Is this the right file?")])
    builder = Builder(name)
    try:
        root = builder.build(events(text))
    except yaml.reader.ReaderError as error:
        raise _unreadable_character(error, text, name) from None
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(error, text, name) from None
    except UnicodeEncodeError as error:
        problem = f"a character that is no character (U+{ord(text[error.start]):04X})"
        raise SpecError([_problem_at(problem, name, text, error.start)]) from None
    if root is None or root.keys is None:
        found = "nothing" if root is None or root.value is None and root.items is None else (
            "a list" if root.items is not None else f"'{short(root.value)}'"
        )  # fmt: skip
        raise SpecError(
            [Problem(f"a mapping is expected at the top, {found} was found", name, 1, 1,
                     todo="A site's file to start from is written by `ai-how init`.")]
        )  # fmt: skip
    positions: dict[Path, Position] = {(): Position(1, 1)}
    data = _Walk(name, positions, builder.problems).plain(root, ())
    return Loaded(data, positions, tuple(builder.problems))


@dataclass
class _Walk:
    """Nodes into plain data; an alias is followed each time, up to a limit that no honest file comes near."""

    name: str
    positions: dict[Path, Position]
    problems: list[tuple[Path, Problem]]
    left: int = MOST

    def plain(self, node: Node, path: Path) -> Any:
        """The data of a node; notes where each value inside it stands."""
        if node.keys is None and node.items is None:
            return node.value
        if len(path) > 2 * DEEPEST:
            self._too_much(node)
        entries: list[tuple[str | int, Any, Node]] = (
            [(key, mark, inner) for key, (mark, inner) in node.keys.items()]
            if node.keys is not None
            else [(index, None, inner) for index, inner in enumerate(node.items or ())]
        )
        self.left -= len(entries)
        if self.left < 0:
            self._too_much(node)
        found = []
        for key, mark, inner in entries:
            below = (*path, key)
            at_key = (mark.line + 1, mark.column + 1) if mark is not None else None
            is_scalar = inner.keys is None and inner.items is None
            if at_key is None or is_scalar:
                self.positions[below] = Position(inner.mark.line + 1, inner.mark.column + 1, at_key)
            else:
                self.positions[below] = Position(*at_key, at_key)
            found.append(inner.value if is_scalar else self.plain(inner, below))
        return found if node.keys is None else dict(zip((key for key, _, _ in entries), found, strict=True))

    def _too_much(self, node: Node) -> None:
        message = f"the file grows beyond {MOST} values, or without end, by its aliases"
        raise SpecError(
            [Problem(message, self.name, node.mark.line + 1, node.mark.column + 1,
                     todo="Write the values out where they are needed.")]
        )  # fmt: skip


def nearest(positions: Mapping[Path, Position], path: Path) -> Position:
    """Position of ``path``, or of the closest thing around it."""
    while path not in positions:
        path = path[:-1]
    return positions[path]


def tuples(data: Any) -> Any:
    """Lists as tuples. Strictness is right for values (no "4" for 4), but YAML has no tuples: they come in as lists."""
    if isinstance(data, dict):
        return {key: tuples(value) for key, value in data.items()}
    return tuple(tuples(value) for value in data) if isinstance(data, list | tuple) else data


def _no_yaml(error: yaml.MarkedYAMLError, text: str, name: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    if "\t" in written[: column + 1] and not written[:column].strip():
        message, todo = "a tab stands where YAML wants blanks", "Indent with blanks."
        return SpecError([Problem(message, name, line + 1, column + 1, todo=todo)])
    what = (error.problem or str(error)).strip().splitlines()[0]
    hint = _HINTS.get(what)
    if error.context and error.context_mark and error.context_mark.line != line:
        what += f" ({error.context} from line {error.context_mark.line + 1} on)"
    return SpecError([Problem(f"no valid YAML: {what}", name, line + 1, column + 1, todo=hint)])


#: What most often lies behind libyaml's words.
_HINTS = {
    "mapping values are not allowed in this context": (
        "A value that holds ': ' needs quotes; or the indentation slipped."
    ),
    "found character that cannot start any token": "A value that begins with such a sign needs quotes.",
    "did not find expected key": "The indentation slipped, or a quote or bracket is missing above.",
    "did not find expected ',' or '}'": "A bracket is not closed, or a comma is missing.",
    "did not find expected ',' or ']'": "A bracket is not closed, or a comma is missing.",
    "did not find expected node content": "A bracket is not closed, or a value is missing.",
    "could not find expected ':'": "A colon is missing behind a key.",
    "found unexpected end of stream": "A quote is not closed.",
    "did not find expected '-' indicator": "The entries of a list begin in one column.",
}


def _unreadable_character(error: yaml.reader.ReaderError, text: str, name: str) -> SpecError:
    character = error.character if isinstance(error.character, int) else 0
    where = text.find(chr(character)) if 0 <= character < 0x110000 else 0
    message = f"a character that no YAML may hold (U+{character:04X})"
    return SpecError([_problem_at(message, name, text, max(where, 0))])


def _problem_at(message: str, name: str, text: str, index: int) -> Problem:
    line = text.count("\n", 0, index) + 1
    column = index - (text.rfind("\n", 0, index) + 1) + 1
    return Problem(message, name, line, column, todo="Save the file as UTF-8 text, and remove the character.")
