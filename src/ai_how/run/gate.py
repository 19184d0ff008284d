"""The gate itself: programs are run here and nowhere else."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Protocol

from ai_how.errors import AiHowError, CommandFailed, MissingProgram, NotFound, TimedOut
from ai_how.run.model import Command, Completed

log = logging.getLogger("ai_how.run")


class Gate(Protocol):
    """Runs programs. Implemented by :class:`LocalGate` and by the fake of the tests."""

    def run(self, command: Command, *, check: bool = True) -> Completed:
        """Run to the end. With ``check``, a status other than 0 raises :class:`CommandFailed`."""
        ...

    def start(self, command: Command, output: Path) -> int:
        """Start in a session of its own, output appended to a file; returns the process id."""
        ...

    def pass_through(self, command: Command) -> int:
        """Run on this terminal: its input and output are the user's; returns the exit status."""
        ...

    def replace(self, command: Command) -> NoReturn:
        """Become that program (``exec``)."""
        ...


class LocalGate:
    """Runs programs on this machine."""

    def run(self, command: Command, *, check: bool = True) -> Completed:
        log.debug("run: %s", command.paste())
        started = time.monotonic()
        try:
            done = subprocess.run(
                command.argv,
                env=_environment(command.env),
                cwd=command.cwd,
                user=command.user,
                group=_group(command.user),
                extra_groups=[] if command.user else None,
                input=command.stdin,
                stdin=subprocess.DEVNULL if command.stdin is None else None,
                capture_output=True,
                # Whatever the terminal's letters are: what is handed over and answered here is UTF-8.
                encoding="utf-8",
                errors="replace",
                timeout=command.timeout,
                check=False,
            )
        except FileNotFoundError as error:
            raise _missing(command) from error
        except subprocess.TimeoutExpired as error:
            raise TimedOut(
                f"{command.argv[0]} did not end within {command.timeout:g} s", where=command.paste()
            ) from error
        result = Completed(command, done.returncode, done.stdout, done.stderr, time.monotonic() - started)
        if check and not result.ok:
            raise CommandFailed(
                f"{Path(command.argv[0]).name} ended with exit status {result.returncode}",
                where=command.paste(),
                detail=result.tail() or None,
            )
        return result

    def start(self, command: Command, output: Path) -> int:
        log.debug("start: %s", command.paste())
        with output.open("ab") as sink:
            try:
                process = subprocess.Popen(
                    command.argv,
                    env=_environment(command.env),
                    cwd=command.cwd,
                    user=command.user,
                    group=_group(command.user),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise _missing(command) from error
        return process.pid

    def pass_through(self, command: Command) -> int:
        log.debug("run: %s", command.paste())
        try:
            return subprocess.run(
                command.argv, env=_environment(command.env), cwd=command.cwd, check=False
            ).returncode
        except FileNotFoundError as error:
            raise _missing(command) from error

    def replace(self, command: Command) -> NoReturn:
        try:
            if command.cwd:
                os.chdir(command.cwd)
            os.execvpe(command.argv[0], command.argv, _environment(command.env))
        except FileNotFoundError as error:
            raise _missing(command) from error


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **extra}


def _group(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd

    return pwd.getpwnam(user).pw_gid


def _missing(command: Command) -> AiHowError:
    if command.cwd is not None and not command.cwd.is_dir():
        return NotFound(f"the folder {command.cwd} is not there", where=command.paste())
    return MissingProgram(
        f"{command.argv[0]} is not there",
        where=command.paste(),
        todo="`ai-how doctor` shows every program that is needed and where it comes from.",
    )
