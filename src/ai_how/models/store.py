"""Stores of models that came from elsewhere: the site's own, and read-only ones that a centre shares.

    hub/ORG--NAME/COMMIT/...        the files of one commit, whole or not there; refs/REVISION holds a commit
    ollama/manifests/..., blobs/... as Ollama keeps them

What is in a store is not written to by those who serve it: files lose their write bits once they are whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ai_how.models.source import InLibrary, OnHub
from ai_how.run.files import write_whole

#: Folders of read-only stores, joined by colons, for all the sites of a user.
SHARED_STORES = "AI_HOW_MODEL_STORES"
OLLAMA_HOST = "registry.ollama.ai"


@dataclass(frozen=True)
class Store:
    """``own`` is where new models go; ``shared`` are only looked into, before anything is fetched."""

    own: Path
    shared: tuple[Path, ...] = ()

    @classmethod
    def of(cls, own: Path, environment: Mapping[str, str] = os.environ) -> Store:
        """The site's own store, and those that ``AI_HOW_MODEL_STORES`` names."""
        named = environment.get(SHARED_STORES, "").split(":")
        return cls(own, tuple(Path(one) for one in named if one))

    def find_hub(self, source: OnHub) -> Path | None:
        """The folder of a commit, or of the commit that a revision meant when it was fetched."""
        for root in (self.own, *self.shared):
            base = root / "hub" / source.folder
            commit = source.revision if source.pinned else _read(base / "refs" / _flat(source.revision))
            if commit and (base / _entry(commit, source)).is_dir():
                return base / _entry(commit, source)
        return None

    def draft_hub(self, source: OnHub) -> Path:
        """Where the files of a repository are fetched to; what a fetch before has left is used again."""
        draft = self.own / "hub" / source.folder / f".{_entry(source.revision, source)}.part"
        draft.mkdir(parents=True, exist_ok=True)
        return draft

    def keep_hub(self, source: OnHub, commit: str) -> Path:
        """Make the draft the store's own, and remember which commit the revision meant."""
        base = self.own / "hub" / source.folder
        folder, draft = base / _entry(commit, source), self.draft_hub(source)
        shutil.rmtree(draft / ".cache", ignore_errors=True)
        if folder.is_dir():
            shutil.rmtree(draft)
        else:
            draft.rename(folder)
            seal(folder)
        if not source.pinned:
            (base / "refs").mkdir(exist_ok=True)
            write_whole(base / "refs" / _flat(source.revision), commit, mode=0o644)
        return folder

    def find_ollama(self, source: InLibrary) -> Path | None:
        """The manifest of a model; a shared store may be a folder of Ollama's itself."""
        for root in (self.own / "ollama", *(one / "ollama" for one in self.shared), *self.shared):
            manifest = ollama_manifest(root, source)
            if manifest.is_file():
                return manifest
        return None


def ollama_manifest(root: Path, source: InLibrary) -> Path:
    """Where a folder of Ollama's has the manifest of a model."""
    return root / "manifests" / OLLAMA_HOST / source.space / source.name / source.tag


def seal(folder: Path) -> None:
    """Take the write bits from every file in a folder. Folders stay their owner's, who may remove what is in them."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & (0o755 if path.is_dir() else 0o555))


def _entry(commit: str, source: OnHub) -> str:
    return f"{_flat(commit)}--{_flat(source.file)}" if source.file else _flat(commit)


def _flat(text: str) -> str:
    return text.replace("/", "--")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
