"""Every error a user can meet: what is wrong, where, the likely cause, and what to do next.

There is one catch, at the top of the command line. Each class has an exit code of its own, so that scripts
can tell the kinds apart; the table is in ``docs/reference/exit-codes.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class AiHowError(Exception):
    """Something a user can act upon.

    ``message`` says what is wrong in one sentence, ``where`` is a file:line:column or a host and command,
    ``cause`` the likely reason, ``todo`` the next thing to do. ``detail`` holds output worth showing in full,
    such as the last lines of a log.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        cause: str | None = None,
        todo: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.cause = cause
        self.todo = todo
        self.detail = detail

    def as_json(self) -> dict[str, object]:
        """The same facts for ``--json``."""
        facts = {
            "error": type(self).__name__,
            "message": self.message,
            "where": self.where,
            "cause": self.cause,
            "todo": self.todo,
            "detail": self.detail,
        }
        return {key: value for key, value in facts.items() if value is not None}


class UsageError(AiHowError):
    """The command line itself is wrong."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One mistake in a file. ``line`` and ``column`` count from 1; ``link`` is a page of the docs and its anchor."""

    message: str
    file: str
    line: int
    column: int
    todo: str | None = None
    severity: str = "error"
    link: str | None = None

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def as_text(self) -> str:
        """Where and what; then, indented, what to do and where to read on."""
        lines = [f"{self.where}: {self.message}", self.todo, f"see {self.link}" if self.link else None]
        return "\n    ".join(line for line in lines if line)

    def as_json(self) -> dict[str, object]:
        """The same facts for ``--json``."""
        return {
            "where": self.where,
            "message": self.message,
            "todo": self.todo,
            "severity": self.severity,
            "link": self.link,
        }


class SpecError(AiHowError):
    """A file that does not say what it should; carries every mistake found in it at once."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        count = len(self.problems)
        super().__init__(
            f"{first.file} has {count} mistake{'s' if count > 1 else ''}",
            detail="\n".join(problem.as_text() for problem in self.problems),
            todo="Correct the file; `ai-how validate` checks it without changing anything.",
        )

    def as_json(self) -> dict[str, object]:
        return super().as_json() | {"problems": [problem.as_json() for problem in self.problems]}


class MissingProgram(AiHowError):
    """A program that is needed is not there and could not be installed."""

    exit_code = 4


class LockHeld(AiHowError):
    """Somebody else is changing this site right now."""

    exit_code = 5


class StepFailed(AiHowError):
    """A step of the plan failed; what this run had created was taken back."""

    exit_code = 6


class JobFailed(AiHowError):
    """A job ended otherwise than by completing."""

    exit_code = 7


class NotFound(AiHowError):
    """The thing named does not exist."""

    exit_code = 8


class CouldNotTell(AiHowError):
    """An observation that had no outcome: neither as asked nor different."""

    exit_code = 9


class CommandFailed(AiHowError):
    """A program of somebody else's ended with an exit status other than 0."""

    exit_code = 10


class TimedOut(AiHowError):
    """Something did not happen within its time."""

    exit_code = 11
