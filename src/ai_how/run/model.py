"""What goes through the gate, and what comes back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Variables that hold a secret, by the end of their names; one that names a secret's file ends otherwise.
_SECRET = re.compile(r"(KEY|KEY_ID|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)


@dataclass(frozen=True)
class Command:
    """A program to run: an argument list, never a shell string.

    ``env`` is added to the environment of this process; ``timeout`` is in seconds. ``user`` runs the program
    as that account, which only root may ask for. ``stdin`` is text for the program's standard input, the way
    to hand over a secret: it never appears in :meth:`paste`, and neither does a variable that holds one.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    user: str | None = None
    stdin: str | None = field(default=None, repr=False)
    timeout: float = 300.0

    def paste(self) -> str:
        """One line that does the same when pasted into a shell, with the secrets put in again by whoever has them."""
        shown = {key: "[redacted]" if _SECRET.search(key) else value for key, value in self.env.items()}
        words = [f"{key}={shlex.quote(value)}" for key, value in shown.items()]
        words += [shlex.quote(word) for word in self.argv]
        line = " ".join(words)
        return f"cd {shlex.quote(str(self.cwd))} && {line}" if self.cwd else line


@dataclass(frozen=True)
class Completed:
    """A program that has ended. ``seconds`` is wall time."""

    command: Command
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    def tail(self, lines: int = 12) -> str:
        """The last lines of what it said, standard error first choice."""
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(text.splitlines()[-lines:])
