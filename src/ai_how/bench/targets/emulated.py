"""A Slurm cluster of many nodes for the time of a benchmark: real daemons, all on this machine and on loopback alone.

Nodes are slurmd processes that claim to have 64 CPUs each; jobs on them really run. It has no accounting, and takes as
many jobs as anybody asks for, where Slurm's own limit is 10,000.
"""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ai_how.bench.interfaces import Place
from ai_how.errors import CouldNotTell
from ai_how.host import Folders, Toolbox
from ai_how.run import Command, wait_until, write_whole
from ai_how.slurm.control import Slurm

_PROGRAMS = (
    "munged",
    "mungekey",
    "slurmctld",
    "slurmd",
    "slurmstepd",
    "sbatch",
    "scancel",
    "scontrol",
    "squeue",
)
#: Seconds in which every node has to have reported.
_PATIENCE = 180.0
#: Where the clients find the cluster that a service has brought up: of one benchmark, in one process.
_UP: dict[int, Slurm] = {}


class Emulated:
    """The service under test: munged, slurmctld and so many slurmd."""

    def __init__(self, nodes: int, place: Place) -> None:
        self._nodes, self._place = nodes, place
        self._folder = Path()
        self._pids: list[int] = []

    @staticmethod
    def slurm(place: Place) -> Slurm:
        """The cluster that was brought up for this place. Raises :class:`CouldNotTell` when none was."""
        try:
            return _UP[id(place)]
        except KeyError:
            raise CouldNotTell("the emulated cluster was not brought up") from None

    def start(self) -> Mapping[str, Any]:
        found = Toolbox(self._place.gate, Folders.of_user(os.environ)).ensure(_PROGRAMS)
        self._folder = folder = Path(tempfile.mkdtemp(prefix="ai-how-emu-"))
        gate = self._place.gate
        folder.chmod(0o711)  # munged wants its socket within everybody's reach, and its key within nobody's
        for name in ("state", "spool", "log"):
            (folder / name).mkdir(mode=0o700)
        key, munge = folder / "munge.key", folder / "munge.sock"
        gate.run(
            Command((str(found["mungekey"].path), "--create", f"--keyfile={key}"), env=found["mungekey"].env)
        )
        self._start(
            Command((str(found["munged"].path), "--foreground", f"--key-file={key}", f"--socket={munge}",
                     f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munged.seed",
                     f"--log-file={folder}/log/munged"), env=found["munged"].env)
        )  # fmt: skip
        wait_until(munge.exists, what="the start of munged", timeout=30)
        ports = free_ports(self._nodes + 1)
        file = folder / "slurm.conf"
        plugins = found["slurmctld"].prefix
        write_whole(file, configuration(folder, getpass.getuser(), platform.node().split(".")[0], ports,
                                        self._plugins(plugins)), mode=0o644)  # fmt: skip
        env = {**found["slurmctld"].env, "SLURM_CONF": str(file)}
        self._start(Command((str(found["slurmctld"].path), "-D", "-c", "-f", str(file)), env=env))
        for number in range(self._nodes):
            self._start(Command((str(found["slurmd"].path), "-D", "-N", node(number), "-f", str(file), "-d",
                                 str(found["slurmstepd"].path)), env=env))  # fmt: skip
        slurm = Slurm(gate, env, {name: one.path for name, one in found.items()})
        wait_until(
            lambda: slurm.alive() and all(one.usable for one in slurm.nodes()),
            what=f"the report of {self._nodes} nodes", timeout=_PATIENCE,
        )  # fmt: skip
        _UP[id(self._place)] = slurm
        return {"cluster": "emulated", "nodes": self._nodes, "slurm": found["slurmctld"].version}

    def stop(self) -> None:
        _UP.pop(id(self._place), None)
        for pid in reversed(self._pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in self._pids:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if self._folder.name:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, command: Command) -> None:
        self._pids.append(self._place.gate.start(command, self._folder / "log" / "daemons"))

    @staticmethod
    def _plugins(prefix: Path | None) -> Path | None:
        """Slurm's plugins where its packages were unpacked rather than installed."""
        return next(iter(sorted(prefix.glob("usr/lib/*/slurm-wlm"))), None) if prefix else None


def node(number: int) -> str:
    """The name of a node. Pure."""
    return f"emu{number:05d}"


def free_ports(count: int) -> list[int]:
    """So many ports of loopback that nobody has just now."""
    held = []
    for _ in range(count):
        one = socket.socket()
        one.bind(("127.0.0.1", 0))
        held.append(one)
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def configuration(folder: Path, user: str, host: str, ports: list[int], plugins: Path | None) -> str:
    """``slurm.conf``: the first port is slurmctld's, the others are the nodes'. Pure."""
    lines = {
        "ClusterName": "emulated",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge.sock",
        "CredType": "cred/munge",
        "StateSaveLocation": f"{folder}/state",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmctldPidFile": f"{folder}/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/%n.pid",
        "SlurmctldLogFile": f"{folder}/log/slurmctld",
        "SlurmdLogFile": f"{folder}/log/%n",
        "PluginDir": plugins,
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "SlurmdParameters": "config_overrides",
        "MaxJobCount": 200_000,
        "MaxArraySize": 100_001,
        "SchedulerParameters": "sched_interval=5,bf_interval=5,batch_sched_delay=0",
        "MailProg": "/bin/true",
        "ReturnToService": 2,
    }
    text = [f"{name}={value}" for name, value in lines.items() if value is not None]
    text += [
        f"NodeName={node(number)} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 RealMemory=65536 "
        "State=UNKNOWN"
        for number, port in enumerate(ports[1:])
    ]
    text.append("PartitionName=all Nodes=ALL Default=YES MaxTime=24:00:00 State=UP")
    return "\n".join([*text, ""])
