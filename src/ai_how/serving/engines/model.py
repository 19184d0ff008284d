"""What an engine is to the rest of the serving room. Pure.

An engine module starts nothing. It says how it is started, and how one finds out that it serves what was
asked; the replica launcher does both on the compute node, knowing no engine by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ai_how.serving.engines.place import Place

#: What an engine loads: one GGUF file; a Hugging Face folder; a model in a store of Ollama's, named by its manifest.
ModelKind = Literal["gguf", "folder", "ollama"]

#: never: this build computes on CPUs; can: on what there is; needs: on GPUs alone.
GpuUse = Literal["never", "can", "needs"]


@dataclass(frozen=True)
class ServeRequest:
    """What one replica is to serve. ``context`` is in tokens for each of ``slots`` requests at once.

    ``threads`` is what the job has CPUs: who starts a replica need not set it. ``devices`` is how many GPUs or slices
    the engine computes on, 0 for CPUs; of a model whose layers are divided, ``gpu_layers`` go to them.
    """

    model: str
    path: Path
    context: int = 2048
    slots: int = 2
    threads: int = 1
    gpu_layers: int = 0
    devices: int = 0


@dataclass(frozen=True)
class Readiness:
    """How to see that an engine serves a model.

    A GET of ``path`` answers JSON; under ``list_key`` is a list, and ``name_key`` of each entry is the name
    of a model. ``refuses_strangers``: the engine knows secrets, and must have answered 401 or 403 to a request
    without one, or what answered is not our engine. ``warm`` are paths with a JSON body: once the
    model is listed they are posted until one is answered with 200, to an engine that loads its model only then.
    ``timeout`` is the longest load, in seconds.
    """

    path: str
    list_key: str
    name_key: str
    refuses_strangers: bool
    timeout: float = 600.0
    warm: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LoadPage:
    """Where an engine tells of its load: a page in Prometheus' format, and the metrics' names on it.

    ``running`` counts the requests it works on, ``waiting`` those that wait inside it, ``cache`` is the share of the
    cache of keys and values in use; None where it has no such metric. Samples of one name are added up.
    """

    path: str
    running: str | None = None
    waiting: str | None = None
    cache: str | None = None


@dataclass(frozen=True)
class Launch:
    """How an engine is started.

    In ``argv``, ``environment`` and ``prepare`` these words are filled in on the node: ``{folder}``, where the
    ``files`` were put; ``{python}``, the launcher's interpreter; ``{apptainer}``, that program's
    path or Singularity's; ``{listen}``, the address to listen on; ``{port}``, a free port taken by the launcher;
    ``{address_file}``, where an engine that takes its own port writes ``host:port`` (better: no moment at which a
    stranger can take it). The replica's secret is in the environment variable
    ``secret_variable``, never among the arguments. Each command of ``prepare`` must end well before the engine starts.

    ``end_signal`` is what makes it end. One that ignores SIGTERM can serve on while its job is told to end.
    """

    argv: tuple[str, ...]
    readiness: Readiness
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_variable: str | None = None
    files: tuple[Path, ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()
    load: LoadPage | None = None
    end_signal: Literal["TERM", "INT"] = "TERM"


class Engine(Protocol):
    """One kind of engine."""

    @property
    def name(self) -> str:
        """The word users write, such as ``llama.cpp``."""
        ...

    @property
    def runtime(self) -> str | None:
        """The kept runtime environment that holds the engine, such as ``llama-cpp``; None: what PATH holds."""
        ...

    @property
    def libraries(self) -> tuple[str, ...]:
        """Shared libraries of the system that it needs, by the toolbox's names."""
        ...

    @property
    def loads(self) -> tuple[ModelKind, ...]:
        """The kinds of model that it loads, the one it is best at first."""
        ...

    def gpus(self, place: Place) -> GpuUse:
        """Whether it computes on GPUs where ``place`` says that it is."""
        ...

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        """Why this engine cannot serve that model, judged by the file's first bytes; None when it can.

        Of a folder ``head`` is its ``config.json``; it is empty where nobody has looked.
        """
        ...

    def launch(self, request: ServeRequest, place: Place) -> Launch:
        """How to start it, where ``place`` says that its programs are."""
        ...
