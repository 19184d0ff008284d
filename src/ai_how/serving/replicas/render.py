"""The batch script and the launch file of a replica. Pure."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from ai_how.serving.engines import Launch, Place
from ai_how.serving.replicas.model import ReplicaResources
from ai_how.slurm.batch import sbatch_option
from ai_how.slurm.images import finding_apptainer
from ai_how.slurm.modules import loading
from ai_how.spec import walltime

LAUNCHER = "replica_launcher.py"
#: The launcher's files, which lie together on the node.
LAUNCHER_FILES = tuple(Path(__file__).parent.parent / name for name in (LAUNCHER, "replica_child.py"))
LAUNCH_FILE = "launch.json"

# Seconds: between two heartbeats, for answers that are under way when the job is told to end, and from the end signal
# to SIGKILL. Slurm's own KillWait is 30.
HEARTBEAT = 5.0
LINGER = 18.0
GRACE = 10.0
# Seconds before the time limit at which the launcher is told of it; Slurm is a minute early at most.
NOTICE = 60

#: Where a replica listens: for this node alone, or for the cluster's other machines.
Listen = Literal["loopback", "node"]


def job_name(model: str) -> str:
    """The name of a job that serves ``model``: ``serve-`` and the name, with dashes for unusual letters."""
    return "serve-" + re.sub(r"[^A-Za-z0-9._-]", "-", model)


def batch_script(*, name: str, folder: Path, log: str, place: Place, resources: ReplicaResources) -> str:
    """The batch script that runs one replica: ``folder`` holds its launcher and its launch file, ``place`` says whose
    Python runs it and which modules are loaded before.

    ``log`` may contain ``%j``. Raises :class:`AiHowError` when a value cannot stand in a batch script.
    """
    options = {
        "job-name": name,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(resources.cpus),
        "mem": resources.memory,
        "gres": resources.gres,
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "time": resources.time_limit,
        "chdir": str(folder),
        "output": log,
        "open-mode": "append",
        "signal": _notice(resources.time_limit),
    }
    lines = [sbatch_option(key, value) for key, value in options.items() if value is not None]
    command = shlex.join([place.python, "-I", str(folder / LAUNCHER), str(folder / LAUNCH_FILE)])
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            # A replica that was moved would have a new endpoint: a new one is asked for instead.
            "#SBATCH --no-requeue",
            "",
            "# A notice that comes before the launcher listens must not end it.",
            "trap '' USR1",
            *loading(place.modules),
            *(finding_apptainer() if place.kind == "apptainer" else ()),
            "set -eu",
            "umask 077",
            "export DO_NOT_TRACK=1 HF_HUB_DISABLE_TELEMETRY=1 NO_PROXY=127.0.0.1,localhost",
            "# The launcher takes the place of this shell, so Slurm's signals reach it at once.",
            f"exec {command}",
            "",
        ]
    )


def _notice(time_limit: str) -> str | None:
    """Whether, and when, the launcher is told of its end; it then says so in its record.

    Where Slurm is set up so, it is told before the job makes room for another one, too.
    """
    try:
        enough = walltime.seconds(time_limit) > 5 * NOTICE
    except ValueError:
        enough = True  # no limit at all
    return f"B:USR1@{NOTICE}" if enough else None


def launch_file(
    *,
    launch: Launch,
    model: str,
    engine: str,
    nonce: str,
    endpoints: Path,
    engine_log: str,
    listen: Listen = "loopback",
    slots: int | None = None,
) -> str:
    """What the replica launcher reads. ``engine_log`` may contain ``{job_id}``. Holds no secret.

    ``slots`` goes into the record, for the gateway: how many requests the engine works on at once.
    """
    facts = {
        "version": "1.0",
        "model": model,
        "engine": engine,
        "nonce": nonce,
        "argv": list(launch.argv),
        "environment": dict(launch.environment),
        "secret_variable": launch.secret_variable,
        "prepare": [list(command) for command in launch.prepare],
        "readiness": asdict(launch.readiness),
        "load": asdict(launch.load) if launch.load else None,
        "end_signal": launch.end_signal,
        "listen": listen,
        "slots": slots,
        "endpoints": str(endpoints),
        "engine_log": engine_log,
        "heartbeat": HEARTBEAT,
        "linger": LINGER,
        "grace": GRACE,
    }
    return json.dumps(facts, indent=2) + "\n"
