"""The MLflow server: runs, metrics and the model registry; PostgreSQL behind it, artifacts in the object store."""

from __future__ import annotations

from ai_how.services import object_store, postgresql
from ai_how.services.model import NO_TELEMETRY, HttpProbe, Service, Setting


def tracking_uri(setting: Setting) -> str:
    """MLFLOW_TRACKING_URI for whoever talks to this server; empty for a site without one."""
    return f"http://127.0.0.1:{setting.ports['mlflow']}" if "mlflow" in setting.ports else ""


def define(setting: Setting) -> Service:
    port = setting.ports["mlflow"]
    telemetry = {} if setting.spec.global_.telemetry else NO_TELEMETRY
    return Service(
        name="mlflow",
        purpose="keeps runs, metrics and the model registry",
        # `mlflow server` imports everything twice over in processes of its own; its application under uvicorn
        # directly is there in a third of the time.
        argv=(
            setting.python_of("mlflow"), "-W", "ignore", "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port),
            "--no-access-log", "--log-level", "warning", "mlflow.server.fastapi_app:app",
        ),
        env={
            **telemetry,
            **object_store.client_env(setting),
            "MLFLOW_S3_ENDPOINT_URL": object_store.endpoint(setting),
            "PGPASSFILE": str(postgresql.password_file(setting.layout)),
            # What `mlflow server` hands to its application (mlflow/server/constants.py).
            "_MLFLOW_SERVER_FILE_STORE": postgresql.uri(setting, "mlflow"),
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"s3://{object_store.BUCKET}/artifacts",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "300",
        },
        after=("postgresql",),
        probe=HttpProbe(
            f"{tracking_uri(setting)}/api/2.0/mlflow/experiments/search", body='{"max_results": 1}'
        ),
        ports={"mlflow": port},
        start_seconds=120,
    )  # fmt: skip
