"""The tracker: when a job ends, its run gets Slurm's own accounting and is closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai_how.services import cluster, mlflow, slurm
from ai_how.services.model import NO_TELEMETRY, Service, Setting, SocketProbe


def define(setting: Setting) -> Service:
    layout = setting.layout
    there = cluster.settings(setting)
    return Service(
        name="tracker",
        purpose=f"records {'in MLflow ' if _tracking(setting) else ''}how jobs ended",
        argv=(str(setting.python), "-m", "ai_how.jobs.tracker", str(layout.root)),
        env={**NO_TELEMETRY, **(_own_slurm(setting) if there is None else {}), **_tracking(setting)},
        files=(there,) if there else (),
        after=("slurmctld",) if there is None else (cluster.NAME,),
        probe=SocketProbe(layout.run / "tracker.sock"),
    )


def _own_slurm(setting: Setting) -> Mapping[str, str]:
    return {
        **slurm.client_env(setting),
        "AI_HOW_SLURM_BIN": str(Path(setting.program("sacct")).parent),
    }


def _tracking(setting: Setting) -> Mapping[str, str]:
    """Where runs are recorded; a site may do without."""
    uri = mlflow.tracking_uri(setting)
    return {"MLFLOW_TRACKING_URI": uri} if uri else {}
