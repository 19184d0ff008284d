"""How long a pass of the reconciler takes over many replicas, with a real slurmctld.

    .venv/bin/python benchmarks/reconciler.py [--replicas 200] [--nodes 1000] [--living 20] [--passes 20] [--json]

A Slurm of its own, with munge, a controller that knows 1,000 nodes, and real slurmd on a few of them, on which all the
jobs run: a thousand daemons would measure this machine. The jobs do nothing. One fake engine answers for all replicas,
each by its own secret, and every replica's record gets its heartbeat every few seconds. Each pass asks Slurm, reads
what records have changed, decides, and writes routes where they changed. Needs slurmctld, slurmd and munged on PATH or
in /usr/sbin, and may be run by an ordinary user.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ai_how.run import LocalGate, wait_until
from ai_how.security import write_private
from ai_how.serving.engines import Place
from ai_how.serving.replicas import (
    Desired,
    ModelVersion,
    ReplicaResources,
    Replicas,
    Scale,
    SiteFolders,
    Store,
)
from ai_how.serving.replicas.reconciler import Reconciler, Rhythm
from ai_how.slurm.control import Slurm
from ai_how.slurm.render import hostlist
from ai_how.wire import EndpointRecord
from ai_how.wire.routes import Demand, ModelDemand

MODELS = 20
HEARTBEAT = 5.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return found or sys.exit(f"{name} is not there")


class Cluster:
    """munged, slurmctld and a few slurmd in a folder; gone at the end."""

    def __init__(self, folder: Path, nodes: int, living: int, cpus: int) -> None:
        self.folder, self.living = folder, living
        self.names = [f"node{number:04d}" for number in range(1, nodes + 1)]
        for part in ("run", "log", "state"):
            (folder / part).mkdir()
        self.conf = folder / "slurm.conf"
        self.conf.write_text(self._conf(cpus))
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.env = {"SLURM_CONF": str(self.conf)}

    def _conf(self, cpus: int) -> str:
        host, user, folder = socket.gethostname(), getpass.getuser(), self.folder
        lines = [
            "ClusterName=bench", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmctldPort={free_port()}",
            f"SlurmUser={user}", f"SlurmdUser={user}", "AuthType=auth/munge",
            f"AuthInfo=socket={folder}/run/munge.sock", "CredType=cred/munge",
            f"StateSaveLocation={folder}/state", f"SlurmdSpoolDir={folder}/state/%n",
            f"SlurmctldPidFile={folder}/run/slurmctld.pid", f"SlurmdPidFile={folder}/run/%n.pid",
            f"SlurmctldLogFile={folder}/log/slurmctld.log", f"SlurmdLogFile={folder}/log/%n.log",
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "MpiDefault=none",
            "SelectType=select/cons_tres", "SelectTypeParameters=CR_CPU_Memory",
            "SlurmdParameters=config_overrides", "ReturnToService=2", "MailProg=/bin/true",
            "JobAcctGatherType=jobacct_gather/none", "AccountingStorageType=accounting_storage/none",
            "SlurmdTimeout=3600", "SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0",
        ]  # fmt: skip
        for name in self.names:
            lines.append(
                f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={cpus} "
                f"RealMemory=64000 State=UNKNOWN"
            )
        lines.append(
            f"PartitionName=main Nodes={hostlist(self.names)} Default=YES MaxTime=24:00:00 DefaultTime=01:00:00 "
            "DefMemPerCPU=16 State=UP"
        )
        return "\n".join(lines) + "\n"

    def start(self, *argv: str) -> None:
        with (self.folder / "log" / "out").open("ab") as sink:
            self.processes.append(
                subprocess.Popen(argv, env={**os.environ, **self.env}, stdout=sink, stderr=sink)
            )

    def begin(self) -> Slurm:
        folder = self.folder
        key = folder / "munge.key"
        subprocess.run([program("mungekey"), "--create", f"--keyfile={key}"], check=True)
        self.start(
            program("munged"), "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/run/munge.sock",
            f"--pid-file={folder}/run/munged.pid", f"--log-file={folder}/log/munged.log",
            f"--seed-file={folder}/run/munged.seed",
        )  # fmt: skip
        wait_until(lambda: (folder / "run" / "munge.sock").exists(), what="munged", timeout=20)
        self.start(program("slurmctld"), "-D")
        slurm = Slurm(LocalGate(), self.env, {})
        wait_until(slurm.alive, what="slurmctld", timeout=60)
        for name in self.names[: self.living]:
            (folder / "state" / name).mkdir()
            self.start(program("slurmd"), "-D", "-N", name)
        wait_until(
            lambda: sum(node.usable for node in slurm.nodes()) >= self.living,
            what="the nodes",
            timeout=120,
            longest=1,
        )
        return slurm

    def end(self) -> None:
        subprocess.run(["scancel", "--me"], env={**os.environ, **self.env}, check=False, capture_output=True)
        time.sleep(2)
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Idle:
    """Slurm, but that the jobs do nothing."""

    def __init__(self, slurm: Slurm) -> None:
        self._slurm = slurm
        self.live_jobs, self.job, self.cancel = slurm.live_jobs, slurm.job, slurm.cancel
        self.drained_nodes = slurm.drained_nodes

    def submit(self, script_text: str, name: str, cwd: Path) -> int:
        options = [
            line for line in script_text.splitlines() if line.startswith("#SBATCH") and "--output" not in line
        ]
        return self._slurm.submit(
            "\n".join(["#!/bin/sh", *options, "#SBATCH --output=/dev/null", "exec sleep 3600", ""]), name, cwd
        )


class Engines:
    """One server that answers for every replica, by its secret; and the hearts of all of them."""

    def __init__(self, replicas: Replicas, slurm: Slurm) -> None:
        self._replicas, self._slurm = replicas, slurm
        self._stop = threading.Event()
        answers = {f"Bearer {number:024x}": f"model-{number:02d}" for number in range(MODELS)}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                model = answers.get(self.headers.get("authorization", ""))
                body = json.dumps({"data": [{"id": model}]}).encode()
                self.send_response(200 if model else 401)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()

    def _beat(self) -> None:
        folder, port = self._replicas.folders.endpoints, int(self.server.server_address[1])
        while not self._stop.wait(HEARTBEAT / 2):
            running = {job.id for job in self._slurm.live_jobs() if job.state == "RUNNING"}
            for one in self._replicas.wanted():
                if one.job_id not in running:
                    continue
                now = time.time()
                record = EndpointRecord(
                    version="1.0", model=one.model, host="127.0.0.1", port=port, job_id=one.job_id or 0,
                    nonce=one.nonce, uid=os.getuid(), engine=one.engine, started=one.submitted, heartbeat=now,
                )  # fmt: skip
                secret = folder / record.secret_file
                if not secret.exists():
                    write_private(secret, f"{int(one.model[-2:]):024x}")
                write_private(folder / record.record_file, record.model_dump_json())

    def end(self) -> None:
        self._stop.set()
        self._beats.join()
        self.server.shutdown()


@contextmanager
def cluster(asked: argparse.Namespace) -> Iterator[tuple[Path, Slurm]]:
    folder = Path(tempfile.mkdtemp(prefix="aih-reconciler-", dir="/tmp"))
    cpus = -(-asked.replicas // asked.living)
    one = Cluster(folder, asked.nodes, asked.living, cpus)
    try:
        yield folder, one.begin()
    finally:
        one.end()
        shutil.rmtree(folder, ignore_errors=True)


def want(store: Store, count: int) -> None:
    version = ModelVersion(
        reference="fake", engine="llama.cpp", path="/fake.gguf", place=Place.of_environment(Path("/env")),
        resources=ReplicaResources(memory="16M", time_limit="04:00:00"),
    )  # fmt: skip
    each = -(-count // MODELS)
    with store.change("file") as models:
        for number in range(MODELS):
            name = f"model-{number:02d}"
            models[name] = Desired(
                model=name, current=version, scale=Scale(minimum=each, maximum=each), said=1.0
            )


def hear(reconciler: Reconciler, number: int) -> None:
    """The gateway's four workers, each busy with every model."""
    for worker in range(4):
        load = {
            f"model-{one:02d}": ModelDemand(waiting=1, active=5, tokens=500 + number) for one in range(MODELS)
        }
        reconciler.hear(Demand(worker=f"w{worker}", generation=1, at=time.time(), models=load))


def timed(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def measure(asked: argparse.Namespace) -> dict[str, object]:
    with cluster(asked) as (folder, slurm):
        site = folder / "site"
        for part in ("run", "state", "share/endpoints", "log/jobs"):
            (site / part).mkdir(parents=True)
        store, submitter = Store(SiteFolders.of(site)), Idle(slurm)
        replicas = Replicas(SiteFolders.of(site), submitter)
        want(store, asked.replicas)
        reconciler = Reconciler(replicas, submitter, store, rhythm=Rhythm(0.0, 0.0, 0.0))
        engines = Engines(replicas, slurm)
        try:
            began = time.monotonic()

            def ready() -> bool:
                reconciler.step()
                return bool(sum(one.phase == "ready" for one in reconciler.statuses) == asked.replicas)

            wait_until(ready, what="all replicas", timeout=600, longest=0.5)
            filled = time.monotonic() - began
            slurm.drain(f"node[{asked.nodes - 99:04d}-{asked.nodes:04d}]", "maintenance")
            passes, jobs, nodes = [], [], []
            for number in range(asked.passes):
                hear(reconciler, number)
                reconciler.step()
                passes.append(reconciler.pass_seconds)
                jobs.append(timed(slurm.live_jobs))
                nodes.append(timed(slurm.drained_nodes))
                time.sleep(0.3)
        finally:
            engines.end()
            reconciler.close()
    return {
        "replicas": asked.replicas, "nodes": asked.nodes, "living_nodes": asked.living, "models": MODELS,
        "seconds_until_all_ready": round(filled, 1),
        "pass_median_s": round(statistics.median(passes), 4), "pass_longest_s": round(max(passes), 4),
        "squeue_median_s": round(statistics.median(jobs), 4), "sinfo_median_s": round(statistics.median(nodes), 4),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--living", type=int, default=20, help="nodes with a slurmd")
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    asked = parser.parse_args()
    facts = measure(asked)
    if asked.json:
        print(json.dumps(facts, indent=2))
        return 0
    for key, value in facts.items():
        print(f"{key}: {value}")
    print("bound: a pass takes at most 0.5 s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
