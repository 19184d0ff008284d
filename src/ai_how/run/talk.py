"""A program that is talked to line by line while it runs, with the instant at which each of its lines came."""

from __future__ import annotations

import logging
import queue
import subprocess
import threading
import time
from contextlib import suppress

from ai_how.errors import AiHowError, MissingProgram, TimedOut
from ai_how.run.model import Command

log = logging.getLogger("ai_how.run")
#: Seconds that a program has to end by itself when its input has ended.
_PATIENCE = 5.0


class Talk:
    """One program. Close it: its input ends, and it is ended if it does not end by that.

    Raises :class:`MissingProgram` when the program is not there.
    """

    def __init__(self, command: Command) -> None:
        log.debug("talk: %s", command.paste())
        self._command = command
        try:
            self._process = subprocess.Popen(
                command.argv,
                env=_with(command),
                cwd=command.cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                bufsize=1,
                # Ctrl-C is for whoever talks; the other side is told what to do.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise MissingProgram(f"{command.argv[0]} is not there", where=command.paste()) from error
        self._lines: queue.SimpleQueue[tuple[str, float] | None] = queue.SimpleQueue()
        self._said: list[str] = []
        self._listeners = [
            threading.Thread(target=listen, daemon=True) for listen in (self._listen, self._listen_errors)
        ]
        for listener in self._listeners:
            listener.start()

    def send(self, line: str) -> None:
        """Say a line. Raises :class:`AiHowError` when the program has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._ended() from error

    def line(self, timeout: float) -> tuple[str, float]:
        """Its next line, and when it came by :func:`time.monotonic`.

        Raises :class:`TimedOut` after ``timeout`` seconds, and :class:`AiHowError` when the program has ended.
        """
        try:
            found = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise TimedOut(
                f"{self._command.argv[0]} said nothing for {timeout:g} s", where=self._command.paste()
            ) from None
        if found is None:
            self._lines.put(None)
            raise self._ended()
        return found

    def close(self) -> None:
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put((line.rstrip("\n"), time.monotonic()))
        self._lines.put(None)

    def _listen_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said = [*self._said[-11:], line.rstrip("\n")]

    def _ended(self) -> AiHowError:
        self._listeners[1].join(_PATIENCE)
        return AiHowError(
            f"{self._command.argv[0]} ended before its time",
            where=self._command.paste(),
            detail="\n".join(self._said) or None,
        )


def _with(command: Command) -> dict[str, str]:
    import os

    return {**os.environ, **command.env}
