"""A gate that runs nothing: it answers from a table and remembers what it was asked. For fast tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ai_how.errors import CommandFailed
from ai_how.run.model import Command, Completed

Answer = tuple[int, str, str]


class ScriptedGate:
    """Answers by the first entry whose words all begin the argument list (the program by its bare name).

    ``table`` pairs leading words with (exit status, standard output, standard error), or with a function of
    the command that gives such a triple. A command without an entry is an error of the test.
    """

    def __init__(
        self, table: Sequence[tuple[Sequence[str], Answer | Callable[[Command], Answer]]] = ()
    ) -> None:
        self._table = list(table)
        self.commands: list[Command] = []

    def run(self, command: Command, *, check: bool = True) -> Completed:
        code, out, err = self._answer(command)
        done = Completed(command, code, out, err, 0.0)
        if check and not done.ok:
            raise CommandFailed(
                f"{Path(command.argv[0]).name} ended with exit status {code}",
                where=command.paste(),
                detail=done.tail() or None,
            )
        return done

    def start(self, command: Command, output: Path) -> int:
        self._answer(command)
        return 1

    def pass_through(self, command: Command) -> int:
        return self._answer(command)[0]

    def replace(self, command: Command) -> NoReturn:
        raise SystemExit(self._answer(command)[0])

    def _answer(self, command: Command) -> Answer:
        self.commands.append(command)
        words = (Path(command.argv[0]).name, *command.argv[1:])
        for leading, answer in self._table:
            if words[: len(leading)] == tuple(leading):
                return answer(command) if callable(answer) else answer
        raise AssertionError(f"the test has no answer for: {command.paste()}")
