"""Text in, a checked :class:`SiteFile` out; or every mistake at once, each with its line and column. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ai_how.errors import Problem, SpecError
from ai_how.spec.check import Check, Found
from ai_how.spec.checks import CHECKS, FIRST
from ai_how.spec.load import Path, Position, load, nearest, tuples
from ai_how.spec.message import Fault, faults, link
from ai_how.spec.model import SiteSpec
from ai_how.spec.salvage import salvage
from ai_how.spec.versions import CURRENT, OLDER, is_newer

__all__ = ["Found", "Path", "Position", "SiteFile", "load", "nearest", "parse", "validate"]

#: A quoted word that nobody reads to its end.
_ENDLESS = re.compile(r"'([^'\s]{100})[^'\s]+'")
_NEWER = "A later ai-how wrote it, and reads it."
_MIGRATE = "`ai-how migrate` shows it in the current version; with `--write` it changes the file."


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

    def problem(self, path: Path, message: str, todo: str | None = None) -> Problem:
        """A mistake that only a room above can know of, at its place in the file."""
        return _problem(SiteSpec, Fault(path, message, todo, path), self.positions, self.name)


def parse(
    text: str,
    name: str = "cluster.yaml",
    also: Iterable[Callable[[SiteSpec], Iterator[Found]]] = (),
) -> SiteFile:
    """Parse and check. Raises :class:`SpecError` with every mistake found.

    ``also`` are further checks, of rooms above this one; a plain function is taken to read the whole file, and a
    :class:`Check` says what it reads. Where a part of the file is wrong in itself, the checks that read it are left
    out, so that one mistake is told once; all the others are made.
    """
    data, positions, unread = load(text, name)
    if (version := str(data.get("version"))) in OLDER:
        # Its keys are other ones: to tell each of them as a mistake would help nobody.
        told = Fault(
            ("version",), f"the file is of version {version}, and this ai-how reads {CURRENT}", _MIGRATE, ()
        )
        raise SpecError([_problem(SiteSpec, told, positions, name)])
    if is_newer(version):
        told = Fault(
            ("version",), f"the file is of version {version}, and this ai-how reads {CURRENT}", _NEWER, ()
        )
        raise SpecError([_problem(SiteSpec, told, positions, name)])
    spec, found, touched = _validated(data)
    problems = [problem for _, problem in unread]
    problems += [_problem(SiteSpec, fault, positions, name) for fault in found]
    touched += [path for path, _ in unread]
    if spec is not None:
        own = list(_checked(spec, FIRST, touched))
        own += _checked(spec, CHECKS, touched + [path for path, _, _ in own])
        more = [check if isinstance(check, Check) else Check(check) for check in also]
        own += list(_checked(spec, more, touched + [path for path, _, _ in own]))
        problems += [_problem(SiteSpec, Fault(*found, found[0]), positions, name) for found in own]
    if problems or spec is None:
        raise SpecError(sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column)))
    return SiteFile(name, spec, positions)


def _validated(data: Any) -> tuple[SiteSpec | None, list[Fault], list[Path]]:
    """The site; or what is left of it without its mistakes, those mistakes, and the keys that they touch."""
    try:
        return SiteSpec.model_validate(tuples(data)), [], []
    except ValidationError as error:
        found = list(faults(SiteSpec, error.errors(include_url=False)))
        spec, touched = salvage(data, error)
        return spec, found, touched + [fault.touches for fault in found]


def _checked(spec: SiteSpec, checks: Iterable[Check], touched: list[Path]) -> Iterator[Found]:
    for check in checks:
        if not any(check.reads_any(path) for path in touched):
            yield from check(spec)


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], data: Any, positions: Mapping[Path, Position], name: str) -> Model:
    """Data into a type; pydantic's complaints become :class:`Problem` with positions."""
    try:
        return model.model_validate(tuples(data))
    except ValidationError as error:
        found = faults(model, error.errors(include_url=False))
        problems = [_problem(model, fault, positions, name) for fault in found]
        raise SpecError(sorted(problems, key=lambda problem: (problem.line, problem.column))) from None


def _told(message: str) -> str:
    """The message, in which a value of somebody's takes no more room than it helps."""
    return _ENDLESS.sub(r"'\1…'", message)


def _problem(model: type[BaseModel], fault: Fault, positions: Mapping[Path, Position], name: str) -> Problem:
    at = nearest(positions, fault.path)
    line, column = at.key if fault.at_key and at.key else (at.line, at.column)
    return Problem(_told(fault.message), name, line, column, todo=fault.todo, link=link(model, fault.path))
