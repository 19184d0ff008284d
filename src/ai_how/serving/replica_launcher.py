"""Runs one replica on a compute node, inside its Slurm job: `python replica_launcher.py launch.json`.

Standard library only, Python 3.9 or newer: it is copied to the node and run by the engine's own interpreter,
where AI-HOW is not installed. It makes the replica's secret, starts the engine, waits until the engine has
proved that it serves the model, then publishes the endpoint record and keeps its heartbeat going for as long
as the engine answers. Told by Slurm of its time limit (SIGUSR1) it says in the record that it is leaving, and goes on.
The record goes when the engine goes, or when the job is told to end (SIGTERM): then what the engine is answering still
is finished, as far as the engine tells how much that is. If the engine dies, the launcher ends with the engine's exit
status and its last lines.

There is one thread. Signals are blocked and waited for, so that nothing is ever interrupted half-way.
"""

from __future__ import annotations

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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from ai_how.serving.replica_child import TOLD_TO_END, WATCHED, Child, EngineEnded, say
else:
    # On the node, where Python runs isolated, so that nothing of the user's gets in between: the other file is beside.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from replica_child import TOLD_TO_END, WATCHED, Child, EngineEnded, say

NEVER_READY, NOT_PREPARED = 70, 71
BAD_LAUNCH = 78
# Where the batch script found Apptainer, or Singularity.
APPTAINER = "AI_HOW_APPTAINER"
# The engine has stopped answering after this many heartbeats in a row without an answer.
MISSED_MOST = 6
PROBE_SECONDS = 5.0
# Seconds between two looks at an engine that is loading: what a wake from nothing may lose by looking. An engine that
# takes long is looked at less often.
LOOK_SECONDS, LOOK_LATER, SOON = 0.01, 0.05, 30.0


class AskedToEnd(Exception):
    """The job was told to end."""


class NotStarted(Exception):
    """What must be done before the engine starts has failed."""


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and for nobody else to read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def listen_address(listen: str) -> str:
    """The address to listen on: loopback, or that of the interface by which the cluster's other machines come.

    Many machines know their own name as a loopback address: then it is the interface that leads to where the job was
    submitted. On a cluster whose nodes are all one machine there is nothing but loopback.
    """
    if listen == "loopback":
        return "127.0.0.1"
    found = [
        address
        for name in (os.environ.get("SLURMD_NODENAME", ""), socket.gethostname())
        for address in addresses(name)
    ]
    for submitted in addresses(os.environ.get("SLURM_SUBMIT_HOST", "")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((submitted, 9))  # sends nothing
            found.append(str(probe.getsockname()[0]))
    return next((one for one in found if not one.startswith("127.")), "127.0.0.1")


def addresses(name: str) -> list[str]:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)] if name else []
    except OSError:
        return []


def read_load(text: str, page: Mapping[str, Any]) -> dict[str, Any]:
    """The load by a page in Prometheus' format; a name that stands there more than once is added up."""
    wanted = {page[key]: key for key in ("running", "waiting", "cache") if page[key]}
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if "{" in line:
            name, _, rest = line.partition("{")[0], "", line.rpartition("}")[2]
        key = wanted.get(name)
        try:
            if key:
                found[key] = found.get(key, 0.0) + float(rest.split()[0])
        except (ValueError, IndexError):
            continue
    return {key: value if key == "cache" else max(0, int(value)) for key, value in found.items()}


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
        self.leaving = False

    def start(self) -> Child:
        """Prepare, then start the engine. Raises :class:`NotStarted`."""
        here = listen_address(self.launch["listen"])
        words = {"folder": str(self.folder), "address_file": str(self.address_file), "python": sys.executable,
                 "listen": here, "apptainer": os.environ.get(APPTAINER, "apptainer")}  # fmt: skip
        if any("{port}" in word for word in self.launch["argv"]):
            self.address = (here, free_port(here))
            words["port"] = str(self.address[1])
        told = {name: fill(value, words) for name, value in self.launch["environment"].items()}
        environment = {**os.environ, **told, "AI_HOW_NONCE": self.nonce}
        log = Path(fill(self.launch["engine_log"], {"job_id": str(job_id())}))
        for command in self.launch["prepare"]:
            step = Child([fill(word, words) for word in command], environment, log)
            try:
                step.reap(block=True)
            except EngineEnded as ended:
                if ended.status:
                    raise NotStarted(
                        f"{command[0]} ended with status {ended.status}:\n{step.tail()}"
                    ) from ended
        if self.launch["secret_variable"]:
            environment[self.launch["secret_variable"]] = self.secret
        self.address_file.unlink(missing_ok=True)
        return Child([fill(word, words) for word in self.launch["argv"]], environment, log)

    def listens(self) -> bool:
        """Whether it is known where the engine listens."""
        if self.address[1]:
            return True
        if not self.address_file.exists():
            return False
        host, _, port = self.address_file.read_text(encoding="utf-8").strip().rpartition(":")
        self.address = (host, int(port))
        return True

    def ask(
        self, path: str, secret: str, body: str = "", timeout: float = PROBE_SECONDS
    ) -> tuple[int, bytes]:
        """The engine's answer to a GET, or to a POST of ``body``; status 0 when there is none."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            if body:
                headers["Content-Type"] = "application/json"
            connection.request("POST" if body else "GET", path, body=body or None, headers=headers)
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
        status, body = self.ask(ready["path"], self.secret)
        if status != 200:
            return f"the engine answers {status}" if status else "the engine does not answer"
        try:
            names = [entry[ready["name_key"]] for entry in json.loads(body)[ready["list_key"]]]
        except (ValueError, KeyError, TypeError):
            return "what answers is not the engine that was started"
        # Ollama lists a model that was asked for without a tag by its full name.
        if not {self.launch["model"], self.launch["model"] + ":latest"} & set(names):
            return f"the engine serves {', '.join(map(str, names)) or 'no model'}"
        if first and ready["refuses_strangers"] and self.ask(ready["path"], "")[0] not in (401, 403):
            return "what answers lets anybody in: it is not the engine that was started"
        return self.warm() if first and ready["warm"] else ""

    def warm(self) -> str:
        """Have the model loaded; why that failed, or nothing."""
        said = b""
        for path, asked in self.launch["readiness"]["warm"]:
            status, body = self.ask(path, self.secret, asked, self.launch["readiness"]["timeout"])
            if status == 200:
                return ""
            said = said or body
        return f"the model is not loaded: {said[:300].decode('utf-8', 'replace')}"

    def load(self) -> dict[str, Any] | None:
        """What the engine says of its load; None when it says nothing."""
        page = self.launch["load"]
        if not page or not self.listens():
            return None
        status, body = self.ask(page["path"], self.secret)
        return read_load(body.decode("utf-8", "replace"), page) if status == 200 else None

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
            "leaving": self.leaving,
            "load": self.load(),
            "slots": self.launch["slots"],
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


def pause(seconds: float, replica: Replica, child: Child) -> None:
    """Wait. Raises :class:`AskedToEnd` or :class:`EngineEnded` as soon as either is so."""
    deadline = time.monotonic() + seconds
    while True:
        heard = signal.sigtimedwait(WATCHED, max(0.0, deadline - time.monotonic()))
        if heard and heard.si_signo in TOLD_TO_END:
            raise AskedToEnd
        if heard and heard.si_signo == signal.SIGUSR1 and not replica.leaving:
            say("told that its end is near")
            replica.leaving = True
            if replica.started:
                publish(replica)
        child.reap()
        if heard is None:
            return


def wait_ready(replica: Replica, child: Child) -> bool:
    """Whether the engine came to serve the model in time."""
    began = time.monotonic()
    reason = ""
    while time.monotonic() - began < replica.launch["readiness"]["timeout"]:
        reason = replica.unready(first=True)
        if not reason:
            say(f"{replica.launch['model']} is ready after {time.monotonic() - began:.2f} s")
            return True
        pause(LOOK_SECONDS if time.monotonic() - began < SOON else LOOK_LATER, replica, child)
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
        pause(replica.launch["heartbeat"], replica, child)
        reason = replica.unready()
        if reason:
            missed += 1
            say(f"no heartbeat ({missed} of {MISSED_MOST}): {reason}")
        else:
            missed = 0
            publish(replica)


def finish(replica: Replica, child: Child) -> None:
    """Let the engine finish what it is answering, for as long as ``linger`` says."""
    deadline = time.monotonic() + replica.launch["linger"]
    while time.monotonic() < deadline:
        load = replica.load()
        if not load or not load.get("running", 0) + load.get("waiting", 0):
            return
        try:
            pause(0.1, replica, child)
        except AskedToEnd:
            continue  # Slurm tells the job and its step
        except EngineEnded:
            return


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
        replica.withdraw()
        finish(replica, child)
    except EngineEnded as ended:
        say(str(ended))
        # When a job is told to end, Slurm tells the engine too, maybe first: that it ends then is no fault of
        # its own. An engine that ends by itself has failed, whatever it says.
        told = signal.sigtimedwait(TOLD_TO_END, 0.5)
        status = 0 if told else ended.status or 1
    finally:
        replica.withdraw()
        child.end(replica.launch["grace"], getattr(signal, "SIG" + replica.launch["end_signal"]))
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
    try:
        return run(replica)
    except NotStarted as error:
        say(str(error))
        return NOT_PREPARED


if __name__ == "__main__":
    sys.exit(main())
