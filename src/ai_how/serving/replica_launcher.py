"""Runs one replica on a compute node, inside its Slurm job: `python replica_launcher.py launch.json`.

Standard library only, Python 3.9 or newer: it is copied to the node and run by the engine's own interpreter,
where AI-HOW is not installed. It makes the replica's secret, starts the engine, waits until the engine has
proved that it serves the model, then publishes the endpoint record and keeps its heartbeat going for as long
as the engine answers. The record goes when the engine goes, or when the job is told to end. If the engine
dies, the launcher ends with the engine's exit status and its last lines.

There is one thread. Signals are blocked and waited for, so that nothing is ever interrupted half-way.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

NEVER_READY = 70
BAD_LAUNCH = 78
# The engine has stopped answering after this many heartbeats in a row without an answer.
MISSED_MOST = 6
PROBE_SECONDS = 5.0
TAIL_LINES = 20
TOLD_TO_END = {signal.SIGTERM, signal.SIGINT}
WATCHED = {signal.SIGCHLD, *TOLD_TO_END}


class EngineEnded(Exception):
    """The engine process is gone; ``status`` is what the launcher ends with."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the engine ended with status {status}")
        self.status = status


class AskedToEnd(Exception):
    """The job was told to end."""


def say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
    print(f"{stamp} replica: {text}", file=sys.stderr, flush=True)


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and for nobody else to read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
            os.execve(argv[0], argv, dict(environment))
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

    def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after ``grace`` seconds."""
        if self.status is not None:
            return
        os.kill(self.pid, signal.SIGTERM)
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


class Replica:
    """One engine, from its start to its end."""

    def __init__(self, launch: dict[str, Any], folder: Path) -> None:
        self.launch = launch
        self.folder = folder
        self.nonce: str = launch["nonce"]
        self.endpoints = Path(launch["endpoints"])
        self.record = self.endpoints / f"{self.nonce}.json"
        self.secret_file = self.endpoints / f"{self.nonce}.secret"
        self.address_file = folder / "address"
        self.secret = secrets.token_urlsafe(32)
        self.address = ("127.0.0.1", 0)
        self.started = 0.0

    def start(self) -> Child:
        words = {"folder": str(self.folder), "address_file": str(self.address_file)}
        if any("{port}" in word for word in self.launch["argv"]):
            self.address = ("127.0.0.1", free_port())
            words["port"] = str(self.address[1])
        argv = [fill(word, words) for word in self.launch["argv"]]
        environment = {**os.environ, **self.launch["environment"]}
        if self.launch["secret_variable"]:
            environment[self.launch["secret_variable"]] = self.secret
        self.address_file.unlink(missing_ok=True)
        return Child(argv, environment, Path(fill(self.launch["engine_log"], {"job_id": str(job_id())})))

    def listens(self) -> bool:
        """Whether it is known where the engine listens."""
        if self.address[1]:
            return True
        if not self.address_file.exists():
            return False
        host, _, port = self.address_file.read_text(encoding="utf-8").strip().rpartition(":")
        self.address = (host, int(port))
        return True

    def get(self, secret: str) -> tuple[int, bytes]:
        """The engine's answer to the question whether it is ready; status 0 when there is none."""
        connection = http.client.HTTPConnection(*self.address, timeout=PROBE_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            connection.request("GET", self.launch["readiness"]["path"], headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def unready(self, *, first: bool = False) -> str:
        """Why the replica is not ready; empty when it is. The ``first`` time it must refuse strangers too."""
        ready = self.launch["readiness"]
        if not self.listens():
            return "the engine does not say where it listens"
        status, body = self.get(self.secret)
        if status != 200:
            return f"the engine answers {status}" if status else "the engine does not answer"
        try:
            names = [entry[ready["name_key"]] for entry in json.loads(body)[ready["list_key"]]]
        except (ValueError, KeyError, TypeError):
            return "what answers is not the engine that was started"
        if self.launch["model"] not in names:
            return f"the engine serves {', '.join(map(str, names)) or 'no model'}"
        if first and ready["refuses_strangers"] and self.get("")[0] not in (401, 403):
            return "what answers lets anybody in: it is not the engine that was started"
        return ""

    def publish(self) -> None:
        now = time.time()
        self.started = self.started or now
        if not self.record.exists():
            write_private(self.secret_file, self.secret)
        facts = {
            "version": "1.0",
            "model": self.launch["model"],
            "host": self.address[0],
            "port": self.address[1],
            "job_id": job_id(),
            "nonce": self.nonce,
            "uid": os.getuid(),
            "engine": self.launch["engine"],
            "started": self.started,
            "heartbeat": now,
        }
        write_private(self.record, json.dumps(facts) + "\n")

    def withdraw(self) -> None:
        self.record.unlink(missing_ok=True)
        self.secret_file.unlink(missing_ok=True)


def fill(word: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        word = word.replace("{" + key + "}", value)
    return word


def job_id() -> int:
    return int(os.environ.get("SLURM_JOB_ID", "0"))


def pause(seconds: float, child: Child) -> None:
    """Wait. Raises :class:`AskedToEnd` or :class:`EngineEnded` as soon as either is so."""
    deadline = time.monotonic() + seconds
    while True:
        heard = signal.sigtimedwait(WATCHED, max(0.0, deadline - time.monotonic()))
        if heard and heard.si_signo in TOLD_TO_END:
            raise AskedToEnd
        child.reap()
        if heard is None:
            return


def wait_ready(replica: Replica, child: Child) -> bool:
    """Whether the engine came to serve the model in time."""
    began = time.monotonic()
    step = 0.02
    reason = ""
    while time.monotonic() - began < replica.launch["readiness"]["timeout"]:
        pause(step, child)
        reason = replica.unready(first=True)
        if not reason:
            say(f"{replica.launch['model']} is ready after {time.monotonic() - began:.2f} s")
            return True
        step = min(step * 1.5, 1.0)
    say(f"not ready within {replica.launch['readiness']['timeout']:g} s: {reason}")
    return False


def publish(replica: Replica) -> None:
    """Publish, or say why not: a full disk takes the replica out of sight, but does not end it."""
    try:
        replica.publish()
    except OSError as error:
        say(f"the record cannot be written: {error.strerror}")


def keep(replica: Replica, child: Child) -> None:
    """Publish the record and keep its heartbeat; returns when the engine has stopped answering."""
    missed = 0
    publish(replica)
    while missed < MISSED_MOST:
        pause(replica.launch["heartbeat"], child)
        reason = replica.unready()
        if reason:
            missed += 1
            say(f"no heartbeat ({missed} of {MISSED_MOST}): {reason}")
        else:
            missed = 0
            publish(replica)


def run(replica: Replica) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    child = replica.start()
    status = NEVER_READY
    try:
        if wait_ready(replica, child):
            keep(replica, child)
            say("the engine has stopped answering")
    except AskedToEnd:
        say("told to end")
        status = 0
    except EngineEnded as ended:
        say(str(ended))
        # When a job is told to end, Slurm tells the engine too, maybe first: that it ends then is no fault of
        # its own. An engine that ends by itself has failed, whatever it says.
        told = signal.sigtimedwait(TOLD_TO_END, 0.5)
        status = 0 if told else ended.status or 1
    finally:
        replica.withdraw()
        child.end(replica.launch["grace"])
    if status:
        say(f"the engine's last lines:\n{child.tail()}")
    return status


def main() -> int:
    path = Path(sys.argv[1]).resolve()
    try:
        replica = Replica(json.loads(path.read_text(encoding="utf-8")), path.parent)
    except (OSError, ValueError, KeyError) as error:
        say(f"cannot use {path}: {error}")
        return BAD_LAUNCH
    os.umask(0o077)
    replica.endpoints.mkdir(mode=0o700, parents=True, exist_ok=True)
    return run(replica)


if __name__ == "__main__":
    sys.exit(main())
