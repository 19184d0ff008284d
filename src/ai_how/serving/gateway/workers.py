"""More than one process behind one port: a parent that answers nothing, and starts a worker anew when one has ended.

Each worker has a listening socket of its own for the same port, between which the kernel deals out the connections. The
parent holds all of them open, so that what waits at a worker that has just died is taken by the one in its place, and
nobody is turned away. Workers are forks: another one is there within milliseconds, and what was loaded is shared.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ai_how.errors import AiHowError

log = logging.getLogger("ai_how.gateway")

#: Does a worker's work, by its slot, its socket and a pipe that ends with the parent; ends when it was told to.
Work = Callable[[int, socket.socket, int], None]
_TOLD = (signal.SIGTERM, signal.SIGINT)
# Seconds: a worker that lived shorter was not well; how long the next one then waits at most; beyond what a worker
# takes to end by itself.
_WELL = 5.0
_LONGEST_PAUSE = 5.0
_GRACE = 3.0
# Workers that died early one after the other: then the fault is not theirs.
_HOPELESS = 10


@dataclass
class _Slot:
    listener: socket.socket
    pid: int = 0
    began: float = 0.0
    due: float = 0.0
    early: int = 0


def pause(early: int) -> float:
    """Seconds until a worker's place is taken again, after so many in it that died early. Pure."""
    return 0.0 if not early else min(0.1 * 2 ** (early - 1), _LONGEST_PAUSE)


class Workers:
    """The parent. ``drain`` is how long a worker may take to end, in seconds."""

    def __init__(self, listeners: Sequence[socket.socket], work: Work, drain: float) -> None:
        self._slots = [_Slot(listener) for listener in listeners]
        self._work = work
        self._drain = drain
        self._read, self._write = os.pipe()
        self._told = False

    def run(self) -> None:
        """Keep the workers running until SIGTERM. Raises :class:`AiHowError` when they cannot be kept."""
        heard = {*_TOLD, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, heard)
        try:
            while not self._told:
                now = time.monotonic()
                for number, slot in enumerate(self._slots):
                    if not slot.pid and slot.due <= now:
                        self._start(number, slot, heard)
                waits = [slot.due - now for slot in self._slots if not slot.pid]
                came = signal.sigtimedwait(heard, max(min(waits), 0.0) if waits else 60.0)
                self._told = came is not None and came.si_signo in _TOLD
                self._reap()
        finally:
            self._end()
            for number in _TOLD:
                signal.signal(number, signal.SIG_IGN)  # it is ending already
            signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)

    def _start(self, number: int, slot: _Slot, heard: set[signal.Signals]) -> None:
        slot.began = time.monotonic()
        slot.pid = os.fork()
        if slot.pid:
            log.info("worker %d is process %d", number, slot.pid)
            return
        status = 1
        try:
            os.close(self._write)
            for other in self._slots:
                if other is not slot:
                    other.listener.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
            self._work(number, slot.listener, self._read)
            status = 0
        except Exception:
            log.exception("worker %d has failed", number)
        finally:
            # Nothing of the parent's is to be done twice: no handlers, no files to be written out.
            os._exit(status)

    def _reap(self) -> None:
        for number, slot in enumerate(self._slots):
            if not slot.pid or os.waitpid(slot.pid, os.WNOHANG)[0] == 0:
                continue
            now = time.monotonic()
            slot.early = slot.early + 1 if now - slot.began < _WELL else 0
            slot.due = now + pause(slot.early)
            if not self._told:
                log.warning("worker %d, process %d, has ended; another takes its place", number, slot.pid)
            slot.pid = 0
            if slot.early >= _HOPELESS and not self._told:
                raise AiHowError(
                    f"worker {number} of the gateway ended {slot.early} times as soon as it had begun",
                    todo="The lines above say why.",
                )

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        for slot in self._slots:
            slot.listener.close()  # nobody is to wait at a door that opens no more
        deadline = time.monotonic() + self._drain + _GRACE
        while any(slot.pid for slot in self._slots) and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)
            self._told = True
            self._reap()
        self._signal(signal.SIGKILL)
        for slot in self._slots:
            if slot.pid:
                os.waitpid(slot.pid, 0)
        os.close(self._read)
        os.close(self._write)

    def _signal(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)
