"""What is wanted of each model that is served, by the site's file and by command. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ai_how.errors import NotFound, UsageError
from ai_how.serving.engines import Place
from ai_how.serving.replicas.model import ReplicaResources
from ai_how.wire import MODEL_NAME

Origin = Literal["file", "command"]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class ModelVersion(_Kept):
    """One version of a model, with all that is needed to start a replica of it.

    ``reference`` is what somebody wrote, ``label`` what the registry calls it (empty for a path); ``given`` which of
    memory and GRES somebody named, the rest being what the model needs. ``id`` follows from all the rest: another
    engine, file or size is another version.
    """

    reference: str
    label: str = ""
    engine: str
    path: str
    place: Place = Place()
    environment: dict[str, str] = {}
    context: int = 2048
    slots: int = 2
    gpu_layers: int = 0
    devices: int = 0
    resources: ReplicaResources = ReplicaResources()
    given: tuple[str, ...] = ()
    id: str = ""

    @model_validator(mode="after")
    def _named(self) -> ModelVersion:
        if not self.id:
            told = self.model_dump_json(exclude={"id", "reference", "label", "given"})
            object.__setattr__(self, "id", hashlib.sha256(told.encode()).hexdigest()[:12])
        return self


class Scale(_Kept):
    """How many replicas, and when. Times in seconds.

    ``queue`` requests may wait for each replica, and ``tokens`` be in flight on it, before there is one more. Without
    ``idle`` the model never sleeps.
    """

    minimum: int = Field(default=1, ge=0)
    maximum: int = Field(default=1, ge=1)
    queue: int = Field(default=4, ge=0)
    tokens: int | None = Field(default=None, ge=1)
    up_after: float = 3.0
    down_after: float = 300.0
    idle: float | None = None
    wakes: bool = True


class Desired(_Kept):
    """What is wanted of one model.

    ``current`` is None while what was asked for could not be found, and ``fault`` says why. ``previous`` is what a
    rollback returns to. ``said`` is when it was said last, in seconds since the epoch: what failed before counts no
    more. ``awake`` keeps a model that may sleep from being asleep at first. ``stopped``: nothing is wanted of it, what
    the file says notwithstanding. ``margin`` and ``drain`` in seconds, as in the file.
    """

    model: str = Field(pattern=MODEL_NAME)
    current: ModelVersion | None = None
    fault: str = ""
    previous: ModelVersion | None = None
    canary: ModelVersion | None = None
    canary_weight: int = 10
    scale: Scale = Scale()
    said: float = 0.0
    awake: bool = False
    stopped: bool = False
    margin: float = 120.0
    drain: float = 600.0


class DesiredFile(_Kept):
    """All that one of the two wants, by the model's name."""

    version: Literal["1.0"] = "1.0"
    models: dict[str, Desired] = {}


@dataclass(frozen=True)
class Told:
    """What counts for one model, and who said so."""

    desired: Desired
    origin: Origin


def merged(by_file: DesiredFile, by_command: DesiredFile) -> Mapping[str, Told]:
    """What counts: a command's word before the file's, for as long as the command's is not taken back."""
    found: dict[str, Told] = {name: Told(one, "file") for name, one in by_file.models.items()}
    found.update({name: Told(one, "command") for name, one in by_command.models.items()})
    return found


def upgraded(old: Desired, version: ModelVersion, now: float) -> Desired:
    """Another version for everybody; the former one is kept for a rollback."""
    if old.current is None or old.current.id == version.id:
        return old.model_copy(update={"current": version, "canary": None, "fault": "", "said": now})
    changes = {"current": version, "previous": old.current, "canary": None, "fault": "", "said": now}
    return old.model_copy(update=changes)


def with_canary(old: Desired, version: ModelVersion, weight: int, now: float) -> Desired:
    """Another version for some requests. Raises :class:`UsageError` when it is the one that is served."""
    if old.current is not None and old.current.id == version.id:
        raise UsageError(
            f"{version.reference} is the version of {old.model} that is served already",
            todo="Name another version, such as NAME:4.",
        )
    return old.model_copy(update={"canary": version, "canary_weight": weight, "said": now})


def rolled_back(old: Desired, now: float) -> Desired:
    """Without its canary; or, where there is none, back at the version before. Raises :class:`NotFound`.

    What was left is kept no more: said twice, it must not bring back what somebody wanted to be rid of.
    """
    if old.canary is not None:
        return old.model_copy(update={"canary": None, "said": now})
    if old.previous is None:
        raise NotFound(
            f"{old.model} has no version to go back to",
            cause="It was never upgraded, or went back already.",
            todo="Name the version that is wanted: `ai-how serve NAME:VERSION --upgrade`.",
        )
    return old.model_copy(update={"current": old.previous, "previous": None, "said": now})


def from_file(old: Desired | None, new: Desired) -> Desired:
    """The file's word, keeping what a rollback needs; the time when it was said stays where nothing changed."""
    if old is None:
        return new
    previous = old.previous
    if old.current and new.current and old.current.id != new.current.id:
        previous = old.current
    kept = new.model_copy(update={"previous": previous, "said": old.said})
    return kept if kept == old and not new.fault else kept.model_copy(update={"said": new.said})
