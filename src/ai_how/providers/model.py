"""The protocol of a provider, and what it can observe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ai_how.services import Service

Undo = Callable[[], None]


class State(StrEnum):
    """How a service is. ``UNKNOWN`` is an outcome of its own and is never taken for one of the others."""

    ABSENT = "absent"
    STOPPED = "stopped"
    RUNNING = "running"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Observation:
    """What was found of one service.

    ``healthy`` is None when that could not be told; ``digest`` is that of the definition the running process
    was started by; ``since`` is in seconds since the epoch.
    """

    name: str
    state: State
    healthy: bool | None = None
    pid: int | None = None
    digest: str | None = None
    since: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Stray:
    """A process of this site that nobody supervises any more."""

    pid: int
    service: str


@dataclass(frozen=True)
class Observed:
    """Everything a provider found. ``extra`` are services that run though nobody asked for them."""

    services: Mapping[str, Observation]
    extra: tuple[str, ...] = ()
    strays: tuple[Stray, ...] = ()
    supervised: bool = False


class Provider(Protocol):
    """Brings services into being on its machines. Every method may be called again at any time."""

    def observe(self, wanted: Sequence[Service]) -> Observed:
        """How things are, without changing anything."""
        ...

    def open(self) -> Undo:
        """Make ready what supervises services; nothing happens when it is."""
        ...

    def sweep(self) -> None:
        """End the processes of this site that nobody supervises."""
        ...

    def create(self, service: Service) -> Undo:
        """Initialise if need be, start, wait until healthy. The undo takes back what this call made."""
        ...

    def change(self, service: Service) -> Undo:
        """Bring a running service to its new definition. The undo brings the former one back."""
        ...

    def stop(self, name: str) -> None:
        """Stop a service; its definition stays, and :meth:`create` starts it again."""
        ...

    def destroy(self, name: str) -> None:
        """Stop a service and forget its definition; its data stay."""
        ...

    def close(self, services: Sequence[Service] = ()) -> None:
        """Stop everything, each of ``services`` after those that need it; no process of the site is left."""
        ...
