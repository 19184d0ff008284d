"""The files in which it is kept what is wanted of each model, what is remembered of it, and what `ps` shows."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ai_how.errors import AiHowError, NotFound
from ai_how.security import read_private, write_private
from ai_how.serving.replicas.control import SiteFolders
from ai_how.serving.replicas.desired import Desired, DesiredFile, Origin, Told, merged
from ai_how.serving.replicas.model import ReplicaStatus
from ai_how.serving.replicas.scaling import ModelMemory
from ai_how.serving.replicas.view import ModelView
from ai_how.wire.routes import Routes

Kept = TypeVar("Kept", bound=BaseModel)


class _MemoryFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    models: dict[str, ModelMemory] = {}


class Store:
    """The files of one site."""

    def __init__(self, folders: SiteFolders) -> None:
        self._folders = folders

    # --- what is wanted ---------------------------------------------------------------------------------

    def _path(self, origin: Origin) -> Path:
        return self._folders.serving / f"{origin}.json"

    def load(self, origin: Origin) -> DesiredFile:
        """What the file wants, or what commands want. Raises :class:`AiHowError` for what cannot be read."""
        return _read(self._path(origin), DesiredFile) or DesiredFile()

    def told(self) -> Mapping[str, Told]:
        """What counts, by the model's name."""
        return merged(self.load("file"), self.load("command"))

    def mark(self) -> tuple[int, ...]:
        """Changes when either file does."""
        found = []
        for origin in ("file", "command"):
            try:
                found.append(os.stat(self._folders.serving / f"{origin}.json").st_mtime_ns)
            except FileNotFoundError:
                found.append(0)
        return tuple(found)

    @contextmanager
    def change(self, origin: Origin) -> Iterator[dict[str, Desired]]:
        """The models of one of the two, to be changed in place; written at the end. One change at a time."""
        self._folders.serving.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folders.serving / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Held for milliseconds: worth waiting for.
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.load(origin)
            models = dict(before.models)
            yield models
            if models != before.models:
                write_private(self._path(origin), DesiredFile(models=models).model_dump_json(indent=2) + "\n")
        finally:
            os.close(lock)
        nudge(self._folders)

    # --- what the reconciler keeps ----------------------------------------------------------------------

    def memory(self) -> Mapping[str, ModelMemory]:
        """What is remembered; nothing when it cannot be read: no replica depends on it."""
        with suppress(AiHowError):
            found = _read(self._folders.serving / "memory.json", _MemoryFile)
            return found.models if found else {}
        return {}

    def remember(self, memory: Mapping[str, ModelMemory]) -> None:
        write_private(
            self._folders.serving / "memory.json", _MemoryFile(models=dict(memory)).model_dump_json() + "\n"
        )

    def routes(self) -> Routes | None:
        """The routes that were written last; None when there are none."""
        with suppress(AiHowError):
            return _read(self._folders.routes, Routes)
        return None

    def write_routes(self, routes: Routes) -> None:
        write_private(self._folders.routes, routes.model_dump_json() + "\n")

    def show(self, facts: Mapping[str, object]) -> None:
        """Write what `ps` shows; its time is the sign that the reconciler lives."""
        write_private(self._folders.shown, json.dumps(facts) + "\n")

    def shown(self) -> Mapping[str, Any]:
        """What the reconciler saw last. Raises :class:`NotFound` when it never wrote anything."""
        found: dict[str, Any] = json.loads(read_private(self._folders.shown))
        return found


def facts_of(
    shown: Sequence[ModelView],
    replicas: Sequence[ReplicaStatus],
    *,
    at: float,
    problem: str,
    pass_seconds: float,
) -> Mapping[str, object]:
    """What `ps` shows, as JSON. Pure."""
    return {
        "at": at,
        "problem": problem or None,
        "pass_seconds": round(pass_seconds, 4),
        "models": [one.as_json() for one in shown],
        "replicas": [one.as_json() for one in replicas],
    }


def nudge(folders: SiteFolders) -> bool:
    """Make the reconciler look at once. False when there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(b"", str(folders.demand))
        except OSError:
            return False
    return True


def _read(path: Path, kind: type[Kept]) -> Kept | None:
    try:
        return kind.model_validate_json(read_private(path))
    except NotFound:
        return None
    except ValidationError as error:
        raise AiHowError(
            f"{path.name} cannot be read", where=str(path), detail=str(error),
            todo="Put it back from a backup, or remove it: `ai-how up` and `ai-how serve` write it anew.",
        ) from error  # fmt: skip
