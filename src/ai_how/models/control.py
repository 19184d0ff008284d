"""Registered models brought to the site, in the form that is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_how.client.tracking import ModelVersion, Tracking
from ai_how.errors import NotFound
from ai_how.models.convert import Precision, convert
from ai_how.run import Gate
from ai_how.services import Layout


@dataclass(frozen=True)
class Gguf:
    """A model that llama.cpp can load: its name to the outside, its file, and where it came from."""

    name: str
    path: Path
    version: str | None = None


class Models:
    """The models of one site."""

    def __init__(self, tracking: Tracking, layout: Layout, gate: Gate) -> None:
        self._tracking = tracking
        self._layout = layout
        self._gate = gate

    def versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        """Every registered version, the newest of each model first. Raises :class:`NotFound` for an unknown name."""
        versions = self._tracking.versions(name)
        if name is not None and not versions:
            self._tracking.find(name)
        return versions

    def register(self, name: str, folder: Path) -> ModelVersion:
        """Register a folder as a new version, with a run of its own."""
        if not folder.is_dir():
            raise NotFound(
                f"there is no folder {folder}", todo="Give the folder that holds the model's files."
            )
        run_id = self._tracking.new_run(name, f"register-{name}", {"ai_how.kind": "register"})
        version = self._tracking.register(
            name, run_id, folder.resolve(), {"ai_how.from": str(folder.resolve())}
        )
        self._tracking.close(run_id, "COMPLETED", {}, {})
        return version

    def promote(self, reference: str, alias: str) -> ModelVersion:
        """Let ``alias`` name the version that ``reference`` stands for."""
        version = self._tracking.find(reference)
        self._tracking.set_alias(version.name, alias, version.version)
        return version

    def find(self, reference: str) -> ModelVersion:
        """The version that a reference stands for. Raises :class:`NotFound`."""
        return self._tracking.find(reference)

    def fetch(self, reference: str) -> Path:
        """The folder of a registered version on this site's share, brought there when it is not."""
        version = self._tracking.find(reference)
        folder = self._folder(version) / "files"
        return folder if folder.is_dir() else self._tracking.download(version, folder)

    def gguf(self, reference: str, python: Callable[[], Path], precision: Precision = "f16") -> Gguf:
        """The model as one GGUF file: a path to such a file, or a registered version, converted once and kept.

        ``python`` gives the interpreter of the environment that converts; it is asked for only when there is something
        to convert, since that environment may have to be built first.
        """
        path = Path(reference)
        if path.suffix == ".gguf":
            if not path.is_file():
                raise NotFound(
                    f"there is no file {path}", todo="Give a GGUF file or a registered model's name."
                )
            return Gguf(path.stem, path.resolve())
        if (path / "config.json").is_file():
            name = path.resolve().name
            target = path.resolve() / f"{name}-{precision}.gguf"
            if not target.exists():
                self._convert(path, target, python, precision)
            return Gguf(name, target)
        version = self._tracking.find(reference)
        target = self._folder(version) / f"{version.name}-{precision}.gguf"
        if not target.exists():
            self._convert(self.fetch(reference), target, python, precision)
        return Gguf(version.name, target, version.version)

    def _convert(self, folder: Path, target: Path, python: Callable[[], Path], precision: Precision) -> None:
        convert(self._gate, python(), folder, target, precision=precision)

    def _folder(self, version: ModelVersion) -> Path:
        folder = self._layout.models / f"{version.name}-{version.version}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
