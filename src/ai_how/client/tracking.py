"""The site's MLflow: runs and the model registry, as far as jobs and models need them."""

from __future__ import annotations

import os
import socket
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_how.errors import AiHowError, NotFound

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

#: MLflow's word for how a run ended, by Slurm's for how its job did; everything else is FAILED.
ENDED = {"COMPLETED": "FINISHED", "CANCELLED": "KILLED", "PREEMPTED": "KILLED"}


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model. ``source`` is where its artifacts are."""

    name: str
    version: str
    aliases: tuple[str, ...]
    run_id: str
    source: str
    created: float


class Tracking:
    """The MLflow server at ``uri``. Raises :class:`AiHowError` when it does not answer."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: MlflowClient | None = None

    def new_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """Create a run that is under way; returns its id."""

        def create(client: MlflowClient) -> str:
            found = client.get_experiment_by_name(experiment)
            experiment_id = found.experiment_id if found else client.create_experiment(experiment)
            return str(client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id)

        return str(self._call(create))

    def params(self, run_id: str, values: Mapping[str, object]) -> None:
        """Record parameters; one that was recorded before keeps its value."""

        def log(client: MlflowClient) -> None:
            known = client.get_run(run_id).data.params
            for key, value in values.items():
                if key not in known:
                    client.log_param(run_id, key, value)

        self._call(log)

    def metrics(self, run_id: str, values: Sequence[tuple[str, float, int, int]]) -> None:
        """Record measured values: (key, value, milliseconds since the epoch, step), a thousand at a time."""
        from mlflow.entities import Metric

        for begin in range(0, len(values), 1000):
            some = [Metric(*value) for value in values[begin : begin + 1000]]
            self._call(lambda client, some=some: client.log_batch(run_id, metrics=some))

    def artifacts(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Store a file, or everything in a folder, with the run."""
        if path.is_dir():
            self._call(lambda client: client.log_artifacts(run_id, str(path), folder))
        else:
            self._call(lambda client: client.log_artifact(run_id, str(path), folder))

    def close(self, run_id: str, state: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """End a run by the state in which Slurm says its job ended."""

        def close(client: MlflowClient) -> None:
            for name, number in metrics.items():
                client.log_metric(run_id, name, number)
            for name, text in tags.items():
                client.set_tag(run_id, name, text)
            client.set_terminated(run_id, ENDED.get(state, "FAILED"))

        self._call(close)

    def discard(self, run_id: str) -> None:
        """Take back a run whose job never came to be."""
        self._call(lambda client: client.delete_run(run_id))

    def run(self, run_id: str) -> Mapping[str, Any]:
        """Status, parameters, last metrics, tags and artifact address of a run."""

        def read(client: MlflowClient) -> Mapping[str, Any]:
            found = client.get_run(run_id)
            return {
                "run_id": run_id,
                "status": found.info.status,
                "params": dict(found.data.params),
                "metrics": dict(found.data.metrics),
                "tags": {
                    key: value for key, value in found.data.tags.items() if not key.startswith("mlflow.")
                },
                "artifacts": [item.path for item in client.list_artifacts(run_id)],
            }

        answer: Mapping[str, Any] = self._call(read)
        return answer

    def history(self, run_id: str, metric: str) -> Sequence[tuple[int, float]]:
        """A metric's values by step."""
        values = self._call(lambda client: client.get_metric_history(run_id, metric))
        return [(value.step, value.value) for value in values]

    def register(self, name: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        """A new version of the model from a folder, whose files become artifacts of the run."""
        self.artifacts(run_id, folder, "model")

        def create(client: MlflowClient) -> ModelVersion:
            from mlflow.exceptions import MlflowException

            try:
                client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{client.get_run(run_id).info.artifact_uri}/model"
            return _version(client.create_model_version(name, source, run_id, tags=dict(tags)))

        version: ModelVersion = self._call(create)
        return version

    def versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        """Every version of a model, or of all models, the newest first."""

        def search(client: MlflowClient) -> Sequence[ModelVersion]:
            aliases: dict[tuple[str, str], list[str]] = {}
            for model in client.search_registered_models():
                for alias, version in client.get_registered_model(model.name).aliases.items():
                    aliases.setdefault((model.name, str(version)), []).append(alias)
            found = client.search_model_versions(f"name='{name}'" if name else None)
            return [_version(one, aliases.get((one.name, str(one.version)), [])) for one in found]

        versions: Sequence[ModelVersion] = self._call(search)
        return sorted(versions, key=lambda one: (one.name, -int(one.version)))

    def find(self, reference: str) -> ModelVersion:
        """The version that ``name``, ``name:version`` or ``name@alias`` stands for; a bare name is the newest.

        Raises :class:`NotFound` that names what there is.
        """
        name, alias = (reference.split("@", 1) + [""])[:2] if "@" in reference else (reference, "")
        name, _, number = name.partition(":")
        versions = self.versions()
        own = [one for one in versions if one.name == name]
        chosen = [
            one
            for one in own
            if (not alias or alias in one.aliases) and (not number or one.version == number)
        ]
        if chosen:
            return chosen[0]
        if own:
            known = ", ".join(f"{one.version}{''.join('@' + alias for alias in one.aliases)}" for one in own)
            raise NotFound(
                f"the model '{name}' has no such version: '{reference}'", todo=f"Its versions: {known}."
            )
        names = sorted({one.name for one in versions})
        raise NotFound(
            f"there is no model '{name}'",
            todo=f"There are: {', '.join(names)}."
            if names
            else "None is registered yet; `ai-how train` makes one.",
        )

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias such as ``champion`` name a version."""
        self._call(lambda client: client.set_registered_model_alias(name, alias, version))

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Bring the files of a version into ``folder``; it appears whole or not at all."""
        import shutil

        draft = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        got = Path(self._call(lambda client: client.download_artifacts(version.run_id, "model", str(draft))))
        shutil.rmtree(folder, ignore_errors=True)
        got.rename(folder)
        shutil.rmtree(draft, ignore_errors=True)
        return folder

    def _call(self, action: Any) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return action(self._connect())
        except (MlflowException, OSError) as error:
            # What is uploaded by plain HTTP fails with the errors of requests, which are OSErrors.
            message = (str(error) or type(error).__name__).splitlines()[0]
            raise AiHowError(
                f"MLflow did not do it: {message}",
                where=self.uri,
                todo="`ai-how status` shows whether the server runs.",
            ) from error

    def _connect(self) -> MlflowClient:
        if self._client is None:
            self._refuse_silence()
            # Loopback needs no proxy, and a server that is down should be told of in seconds, not in minutes.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
            # Standard output is the answer of `--json`.
            os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
            os.environ["NO_PROXY"] = "127.0.0.1,localhost," + os.environ.get("NO_PROXY", "")
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._client

    def _refuse_silence(self) -> None:
        """MLflow's own client would try for a quarter of a minute before it says that nobody listens."""
        parts = urllib.parse.urlsplit(self.uri)
        try:
            socket.create_connection((parts.hostname or "", parts.port or 80), timeout=5).close()
        except OSError as error:
            raise AiHowError(
                f"MLflow does not answer: {error.strerror or error}",
                where=self.uri,
                todo="`ai-how status` shows whether the site is up; `ai-how up` brings it up.",
            ) from error


def _version(found: Any, aliases: Sequence[str] = ()) -> ModelVersion:
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        aliases=tuple(aliases),
        run_id=found.run_id or "",
        source=found.source or "",
        created=(found.creation_timestamp or time.time() * 1000) / 1000,
    )
