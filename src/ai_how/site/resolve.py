"""From what somebody calls a model to a version of it that replicas can be started of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ai_how.errors import AiHowError
from ai_how.host import Progress
from ai_how.serving.engines import find_engine, place_of, read_head
from ai_how.serving.fit import Need, need, read_shape
from ai_how.serving.replicas import ModelVersion, ReplicaResources, check_engine, check_name, request_of
from ai_how.serving.replicas.plan import memory_for
from ai_how.site import work
from ai_how.site.control import Site
from ai_how.spec.runtime import ServingRuntime


@dataclass(frozen=True)
class Wish:
    """What somebody wants of a model: its name to clients (its own without), its engine, and what each replica gets."""

    reference: str
    name: str | None = None
    engine: str = work.ENGINE
    runtime: ServingRuntime | None = None
    context: int = 2048
    slots: int = 2
    resources: ReplicaResources = ReplicaResources()


def resolve(site: Site, wish: Wish, progress: Progress) -> tuple[str, ModelVersion]:
    """The name under which it is served, and the version: its file brought here and converted, the engine built.

    Raises :class:`NotFound` for a model that does not exist, :class:`AiHowError` when the engine cannot serve it.
    """
    engine = find_engine(wish.engine)
    found = work.gguf(site, wish.reference, progress)
    name = wish.name or found.name
    check_name(name)
    libraries = site.toolbox.ensure(engine.libraries, progress)
    place = place_of(wish.runtime, engine.runtime, lambda kept: site.environments.ensure(kept, progress))
    version = ModelVersion(
        reference=wish.reference,
        label=found.version or "",
        engine=engine.name,
        path=str(found.path.resolve()),
        place=place,
        environment={key: value for library in libraries.values() for key, value in library.env.items()},
        context=wish.context,
        slots=wish.slots,
        resources=_with_memory(wish, found.path),
    )
    check_engine(engine, request_of(name, version), read_head(found.path))
    return name, version


def _with_memory(wish: Wish, path: Path) -> ReplicaResources:
    if wish.resources.memory is not None:
        return wish.resources
    memory = memory_for(path.stat().st_size, _need(path, wish))
    return replace(wish.resources, memory=memory)


def _need(path: Path, wish: Wish) -> Need | None:
    """What the model needs; None when its file does not tell."""
    try:
        return need(read_shape(path), wish.context, wish.slots, gpu=False)
    except AiHowError:
        return None
