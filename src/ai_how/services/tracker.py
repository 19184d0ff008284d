"""The tracker: when a job ends, its run gets Slurm's own accounting and is closed."""

from __future__ import annotations

from pathlib import Path

from ai_how.services import mlflow, slurm
from ai_how.services.model import NO_TELEMETRY, Service, Setting, SocketProbe


def define(setting: Setting) -> Service:
    layout = setting.layout
    return Service(
        name="tracker",
        purpose="records in MLflow how jobs ended",
        argv=(str(setting.python), "-m", "ai_how.jobs.tracker", str(layout.root)),
        env={
            **NO_TELEMETRY,
            **slurm.client_env(setting),
            "MLFLOW_TRACKING_URI": mlflow.tracking_uri(setting),
            "AI_HOW_SLURM_BIN": str(Path(setting.program("sacct")).parent),
        },
        after=("slurmctld",),
        probe=SocketProbe(layout.run / "tracker.sock"),
    )
