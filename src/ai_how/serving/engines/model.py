"""What an engine is to the rest of the serving room. Pure.

An engine module starts nothing. It says how it is started, and how one finds out that it serves what was
asked; the replica launcher does both on the compute node, knowing no engine by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ServeRequest:
    """What one replica is to serve. ``context`` is in tokens for each of ``slots`` requests at once.

    ``threads`` is what the job has CPUs: who starts a replica need not set it.
    """

    model: str
    path: Path
    context: int = 2048
    slots: int = 2
    threads: int = 1
    gpu_layers: int = 0


@dataclass(frozen=True)
class Readiness:
    """How to see that an engine serves a model.

    A GET of ``path`` answers JSON; under ``list_key`` is a list, and ``name_key`` of each entry is the name
    of a model. ``refuses_strangers``: the engine knows secrets, and must have answered 401 or 403 to a request
    without one, or what answered is not our engine. ``timeout`` is the longest load, in seconds.
    """

    path: str
    list_key: str
    name_key: str
    refuses_strangers: bool
    timeout: float = 600.0


@dataclass(frozen=True)
class Launch:
    """How an engine is started.

    In ``argv`` these words are filled in on the node: ``{folder}``, where the ``files`` were put;
    ``{port}``, a free port taken by the launcher; ``{address_file}``, where an engine that takes its own port
    writes ``host:port`` (better: no moment at which a stranger can take it). The replica's secret is in the
    environment variable ``secret_variable``, never among the arguments.
    """

    argv: tuple[str, ...]
    readiness: Readiness
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_variable: str | None = None
    files: tuple[Path, ...] = ()


class Engine(Protocol):
    """One kind of engine."""

    @property
    def name(self) -> str:
        """The word users write, such as ``llama.cpp``."""
        ...

    @property
    def runtime(self) -> str:
        """The runtime environment that holds the engine, such as ``llama-cpp``."""
        ...

    @property
    def libraries(self) -> tuple[str, ...]:
        """Shared libraries of the system that it needs, by the toolbox's names."""
        ...

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        """Why this engine cannot serve that file, judged by the file's first bytes; None when it can."""
        ...

    def launch(self, request: ServeRequest, python: Path) -> Launch:
        """How to start it, ``python`` being the interpreter of its runtime environment."""
        ...
