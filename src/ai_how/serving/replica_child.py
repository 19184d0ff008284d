"""The engine as a child process of the replica launcher, and what the launcher hears meanwhile.

Standard library only, Python 3.9 or newer; copied to the node beside ``replica_launcher.py``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

TAIL_LINES = 20
TOLD_TO_END = {signal.SIGTERM, signal.SIGINT}
WATCHED = {signal.SIGCHLD, signal.SIGUSR1, *TOLD_TO_END}


class EngineEnded(Exception):
    """The engine process is gone; ``status`` is what the launcher ends with."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the engine ended with status {status}")
        self.status = status


def say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
    print(f"{stamp} replica: {text}", file=sys.stderr, flush=True)


class Child:
    """The engine process: its output goes to a file, and it never outlives the launcher."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], output: Path) -> None:
        self.output = output
        self.status: int | None = None
        libc = ctypes.CDLL(None, use_errno=True)
        sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.pid = os.fork()
        if self.pid == 0:
            self._become(argv, environment, sink, libc)
        os.close(sink)

    @staticmethod
    def _become(argv: list[str], environment: Mapping[str, str], sink: int, libc: ctypes.CDLL) -> NoReturn:
        try:
            libc.prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os.execvpe(argv[0], argv, dict(environment))
        except OSError as error:
            os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def reap(self, *, block: bool = False) -> None:
        """Raise :class:`EngineEnded` when the engine is gone; with ``block``, wait for that."""
        if self.status is None:
            done, raw = os.waitpid(self.pid, 0 if block else os.WNOHANG)
            if not done:
                return
            code = os.waitstatus_to_exitcode(raw)
            self.status = code if code >= 0 else 128 - code
        raise EngineEnded(self.status)

    def end(self, grace: float, number: int = signal.SIGTERM) -> None:
        """The signal ``number``, and SIGKILL after ``grace`` seconds."""
        if self.status is not None:
            return
        os.kill(self.pid, number)
        deadline = time.monotonic() + grace
        try:
            while time.monotonic() < deadline:
                self.reap()
                signal.sigtimedwait({signal.SIGCHLD}, 0.2)
            os.kill(self.pid, signal.SIGKILL)
            self.reap(block=True)
        except EngineEnded:
            return

    def tail(self) -> str:
        with self.output.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 16384))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-TAIL_LINES:])
