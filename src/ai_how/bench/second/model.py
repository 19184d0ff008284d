"""What a tool is that gives a second opinion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ai_how.bench.interfaces import Place
from ai_how.bench.model import Value
from ai_how.errors import CouldNotTell
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe


@dataclass(frozen=True)
class Tool:
    """``ask`` makes the command that puts its answer into ``folder`` (or says it), ``parse`` reads that: both pure.

    ``answer`` is the file that it writes, or None where it says everything on standard output. ``api`` are the kinds of
    target it knows, ``keyless`` that it takes a token by its command line alone and is asked without one only.
    """

    name: str
    program: str
    api: tuple[str, ...]
    ask: Callable[[BenchRecipe, Place, Path], Command]
    parse: Callable[[str], Mapping[str, Value]]
    answer: str | None = None
    keyless: bool = False

    def read(self, text: str) -> Mapping[str, Value]:
        """Its figures. Raises :class:`CouldNotTell` for an answer that is none."""
        try:
            found = self.parse(text)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise CouldNotTell(
                f"the answer of {self.name} is not what it should be",
                cause=repr(error),
                detail=text[-300:] or None,
            ) from error
        if not found:
            raise CouldNotTell(f"there is no figure in the answer of {self.name}", detail=text[-300:] or None)
        return found


def milliseconds(value: float) -> Value:
    """A latency."""
    return Value(value=value, unit="ms", better="lower")
