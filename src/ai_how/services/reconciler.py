"""The reconciler: keeps the replicas of the served models as they are wanted."""

from __future__ import annotations

import json
from pathlib import Path

from ai_how.services import cluster, slurm
from ai_how.services.layout import Layout
from ai_how.services.model import NO_TELEMETRY, File, HeartbeatProbe, Service, Setting


def heartbeat(layout: Layout) -> Path:
    """What it writes at each pass, a few seconds apart: what `ps` shows."""
    return layout.run / "serving.json"


def define(setting: Setting) -> Service:
    layout = setting.layout
    folder = layout.etc / "reconciler"
    there = cluster.settings(setting)
    config: dict[str, object] = {"site": str(layout.root)}
    if there is None:
        config["programs"] = str(Path(setting.program("sbatch")).parent)
    else:
        # Somebody else's Slurm is asked as often as the file allows, and its nodes seldom.
        poll = setting.spec.clusters.hpc.existing.poll_seconds if setting.spec.clusters.hpc.existing else 5
        config |= {"listen": "node", "usual": poll, "eager": poll, "nodes": max(poll, 30), "resting": 60}
    return Service(
        name="reconciler",
        purpose="keeps the replicas of the served models as they are wanted",
        argv=(
            str(setting.python),
            "-m",
            "ai_how.serving.replicas",
            "--config",
            str(folder / "reconciler.json"),
        ),
        env={**NO_TELEMETRY, **slurm.client_env(setting)},
        folders=(folder,),
        files=(
            File(folder / "reconciler.json", json.dumps(config, indent=2) + "\n"),
            *((there,) if there else ()),
        ),
        after=("slurmctld",) if there is None else (cluster.NAME,),
        probe=HeartbeatProbe(heartbeat(layout), seconds=20.0),
    )
