"""supervisord over its socket: the few calls that a plan needs."""

from __future__ import annotations

import http.client
import socket
import threading
import xmlrpc.client
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from supervisor.xmlrpc import Faults, SupervisorTransport

from ai_how.errors import AiHowError, CouldNotTell
from ai_how.run import wait_until

T = TypeVar("T")
#: The states of a process that is not there; in BACKOFF it is about to be started again.
ENDED = frozenset({"STOPPED", "EXITED", "FATAL"})
#: All of them together. Each is killed when its own time is over.
STOP_SECONDS = 120.0
#: It answers in milliseconds, as none of our calls waits for a process.
ANSWER_SECONDS = 60.0
_GONE = frozenset({Faults.BAD_NAME, Faults.NOT_RUNNING})


@dataclass(frozen=True)
class ProcessInfo:
    """supervisord's word on one process; ``state`` is its own name for it, such as RUNNING or BACKOFF."""

    name: str
    state: str
    pid: int
    start: float
    spawn_error: str


class Supervisor:
    """A running supervisord. Calls are serialised: its RPC server takes one at a time anyway."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._lock = threading.Lock()

    def pid(self) -> int | None:
        """Its process id; None when nobody listens on the socket. One that is shutting down is waited for."""
        found: list[int] = []

        def settled() -> bool:
            try:
                found[:] = [int(self._call(lambda rpc: rpc.getPID()))]
            except _ShuttingDown:
                return False
            except (ConnectionRefusedError, FileNotFoundError):
                found.clear()
            except OSError as error:
                raise CouldNotTell(f"supervisord did not answer: {error}", where=str(self._socket)) from error
            return True

        wait_until(settled, what="the end of a supervisord that is shutting down", timeout=60)
        return found[0] if found else None

    def processes(self) -> Mapping[str, ProcessInfo]:
        """Every process it knows, by name."""
        return {
            info["name"]: ProcessInfo(
                info["name"], info["statename"], info["pid"], info["start"], info["spawnerr"]
            )
            for info in self._call(lambda rpc: rpc.getAllProcessInfo())
        }

    def process(self, name: str) -> ProcessInfo:
        info = self._call(lambda rpc: rpc.getProcessInfo(name))
        return ProcessInfo(info["name"], info["statename"], info["pid"], info["start"], info["spawnerr"])

    def add(self, name: str) -> None:
        """Read the files again and take up the process of that name."""

        def add(rpc: Any) -> None:
            rpc.reloadConfig()
            _tolerating({Faults.ALREADY_ADDED}, lambda: rpc.addProcessGroup(name))

        self._call(add)

    def start(self, name: str) -> None:
        """Start without waiting: health is what the probe says."""
        self._call(lambda rpc: _tolerating({Faults.ALREADY_STARTED}, lambda: rpc.startProcess(name, False)))

    def stop(self, before: Mapping[str, Collection[str]]) -> None:
        """Stop every process, each as soon as those that ``before`` names for it have ended; wait for the last.

        Its own shutdown stops one after the other, and each of them takes it a second to notice.
        """
        told: set[str] = set()

        def ended() -> bool:
            running = {name for name, info in self.processes().items() if info.state not in ENDED}
            for name in running - told:
                if running.isdisjoint(before.get(name, ())):
                    self._stop(name)
                    told.add(name)
            return not running

        wait_until(ended, what="the end of every process", timeout=STOP_SECONDS)

    def _stop(self, name: str) -> None:
        """Tell it to end, without waiting; nothing happens when it has ended."""
        self._call(lambda rpc: _tolerating(_GONE, lambda: rpc.stopProcess(name, False)))

    def remove(self, name: str) -> None:
        """Stop it, wait until it has ended, and forget it."""
        self._stop(name)

        def forgotten() -> bool:
            try:
                self._call(lambda rpc: _tolerating(_GONE, lambda: rpc.removeProcessGroup(name)))
            except _StillRunning:
                # Somebody else had told it to stop already, and did not live to see it.
                return False
            return True

        wait_until(forgotten, what=f"the end of {name}", timeout=60)

    def shutdown(self) -> None:
        """Stop every process and then itself."""
        self._call(lambda rpc: rpc.shutdown())

    def _call(self, action: Callable[[Any], T]) -> T:
        with self._lock:
            transport = SupervisorTransport(None, None, f"unix://{self._socket}")
            transport._get_connection = lambda: _Patient(self._socket)
            try:
                return action(xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor)
            except xmlrpc.client.Fault as fault:
                kind = _KINDS.get(fault.faultCode, AiHowError)
                raise kind(f"supervisord refused: {fault.faultString}", where=str(self._socket)) from fault
            except TimeoutError as error:
                raise CouldNotTell(
                    f"supervisord did not answer within {ANSWER_SECONDS:g} s",
                    where=str(self._socket),
                    cause="it was stopped, or this machine is at a standstill",
                    todo="Look at its process and its log, log/supervisord.log; then do the same again.",
                ) from error
            finally:
                transport.close()


class _Patient(http.client.HTTPConnection):
    """The connection of supervisord's own client, with an end to its waiting."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._path))


class _ShuttingDown(AiHowError):
    """supervisord takes no calls any more."""


class _StillRunning(AiHowError):
    """A process that was to be forgotten has not ended yet."""


_KINDS: Mapping[int, type[AiHowError]] = {
    Faults.SHUTDOWN_STATE: _ShuttingDown,
    Faults.STILL_RUNNING: _StillRunning,
}


def _tolerating(faults: Collection[int], action: Callable[[], Any]) -> None:
    try:
        action()
    except xmlrpc.client.Fault as error:
        if error.faultCode not in faults:
            raise
