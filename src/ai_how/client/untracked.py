"""A site without MLflow: jobs run all the same, and nothing is recorded of them but what Slurm keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ai_how.client.tracking import ModelVersion, Tracking
from ai_how.errors import NotFound


class Untracked(Tracking):
    """Takes what is recorded and keeps none of it; whoever asks for a run or a model is told why there is none."""

    def __init__(self) -> None:
        super().__init__("")

    def new_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        return ""

    def params(self, run_id: str, values: Mapping[str, object]) -> None:
        return

    def artifacts(self, run_id: str, path: Path, folder: str | None = None) -> None:
        return

    def metrics(self, run_id: str, values: Sequence[tuple[str, float, int, int]]) -> None:
        return

    def close(self, run_id: str, state: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        return

    def discard(self, run_id: str) -> None:
        return

    def run(self, run_id: str) -> Mapping[str, Any]:
        _none("runs are not recorded")

    def history(self, run_id: str, metric: str) -> Sequence[tuple[int, float]]:
        _none("metrics are not recorded")

    def register(self, name: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        _none("models are not registered")

    def versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        _none("models are not registered")

    def find(self, reference: str) -> ModelVersion:
        _none(f"'{reference}' is no file and no folder, and models are not registered")

    def set_alias(self, name: str, alias: str, version: str) -> None:
        _none("models are not registered")

    def download(self, version: ModelVersion, folder: Path) -> Path:
        _none("models are not registered")


def _none(what: str) -> NoReturn:
    raise NotFound(
        f"{what}: this site has no MLflow",
        where="clusters.cloud.services.mlflow",
        todo="Enable it in the file and `ai-how up`; `ai-how jobs` shows jobs without it.",
    )
