"""From what somebody calls a model to a version of it that replicas can be started of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ai_how.errors import AiHowError
from ai_how.host import Progress
from ai_how.serving.engines import Engine, Place, place_of
from ai_how.serving.fit import Fit, Need, need, read_shape
from ai_how.serving.replicas import ModelVersion, ReplicaResources, check_engine, check_name, request_of
from ai_how.serving.replicas.plan import memory_for
from ai_how.site import modelfile, work
from ai_how.site.control import Site
from ai_how.site.fit import fit_of, refuse_absent, refuse_unknown
from ai_how.site.modelfile import ModelFile
from ai_how.site.runtimes import refuse_absent_image
from ai_how.site.sources import engine_for
from ai_how.spec.runtime import ServingRuntime

#: llama.cpp's word for the whole model: more layers than any has.
ALL_LAYERS = 999


@dataclass(frozen=True)
class Wish:
    """What somebody wants of a model: its name to clients (its own without), its engine (the usual one without), and
    what each replica gets: where no ``gres`` is named, the smallest GPU that holds it, if there is one. A ``place``
    stands for what a runtime would say."""

    reference: str
    name: str | None = None
    engine: str | None = None
    runtime: ServingRuntime | None = None
    context: int = 2048
    slots: int = 2
    resources: ReplicaResources = ReplicaResources()
    place: Place | None = None


@dataclass(frozen=True)
class Asked:
    """What somebody says of a model by command; what is left out is as it is served already, or has its default."""

    reference: str
    name: str | None = None
    engine: str | None = None
    runtime: ServingRuntime | None = None
    context: int | None = None
    slots: int | None = None
    cpus: int | None = None
    memory: str | None = None
    time_limit: str | None = None
    gres: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None

    @property
    def usual_name(self) -> str:
        """The name that clients ask for: what was said, or what the model itself is called."""
        if self.name is not None:
            return self.name
        path = Path(self.reference)
        if path.suffix == ".gguf":
            return path.stem
        return path.resolve().name if path.is_dir() else self.reference.partition("@")[0].partition(":")[0]

    def wish(self, served: ModelVersion | None) -> Wish:
        """What is wanted, ``served`` being the version that is served under that name. Pure."""
        former = served or ModelVersion(reference="", engine="", path="")
        chosen: dict[str, Any] = {key: None for key in ("memory", "gres") if key not in former.given}
        resources = replace(former.resources, **chosen)
        said = {
            key: getattr(self, key)
            for key in ("cpus", "memory", "time_limit", "gres", "partition", "account", "qos")
            if getattr(self, key) is not None
        }
        # A kept environment is looked up anew: a later AI-HOW may have a later one.
        same = self.runtime is None and self.engine in (None, former.engine) and not former.place.has_python
        return Wish(
            reference=self.reference,
            name=self.name,
            engine=self.engine or former.engine or None,
            runtime=self.runtime,
            context=self.context or former.context,
            slots=self.slots or former.slots,
            resources=replace(resources, **said),
            place=former.place if served is not None and same else None,
        )


def resolve(site: Site, wish: Wish, progress: Progress) -> tuple[str, ModelVersion]:
    """The name under which it is served, and the version: its file brought here and converted, the engine built.

    Raises :class:`NotFound` for a model that does not exist, :class:`AiHowError` when the engine cannot serve it.
    """
    engine = engine_for(wish.reference, wish.engine)
    if site.file.spec.clusters.hpc.provider == "local":  # elsewhere Slurm says so: it may hide what it has
        refuse_absent(site, wish.resources.partition, wish.resources.gres)
        refuse_unknown(site, wish.resources.account, wish.resources.qos)
    if wish.runtime and wish.runtime.image:
        refuse_absent_image(site, wish.runtime.image, "the runtime of the engine")
    found = modelfile.find(site, wish.reference, engine, progress)
    name = wish.name or found.name
    check_name(name)
    # What an engine on a cluster elsewhere links with, its environment there has to bring.
    libraries = {} if site.reach else site.toolbox.ensure(engine.libraries, progress)
    place = wish.place or place_of(
        wish.runtime, engine.runtime, lambda kept: work.environment_of(site, kept, progress)
    )
    resources = _with_gpus(site, wish, name, found.here, engine, place, progress)
    simulated = site.file.spec.clusters.hpc.provider == "local"
    devices = 0 if simulated else count_of(resources.gres)
    version = ModelVersion(
        reference=wish.reference,
        label=found.version,
        engine=engine.name,
        path=str(found.path),
        place=place,
        environment={key: value for library in libraries.values() for key, value in library.env.items()},
        context=wish.context,
        slots=wish.slots,
        gpu_layers=ALL_LAYERS if devices else 0,
        devices=devices,
        resources=_with_memory(resources, wish, found, engine),
        given=tuple(key for key in ("memory", "gres") if getattr(wish.resources, key) is not None),
    )
    check_engine(engine, request_of(name, version), found.head)
    return name, version


def count_of(gres: str | None) -> int:
    """How many GPUs or slices ``gpu:a100:2`` or ``gpu:1`` is."""
    last = (gres or "").rpartition(":")[2]
    return int(last) if last.isdigit() else int(bool(gres))


def _with_gpus(
    site: Site, wish: Wish, name: str, path: Path | None, engine: Engine, place: Place, progress: Progress
) -> ReplicaResources:
    """The resources with the smallest GPU that holds the model, where none is named and the engine computes on GPUs."""
    resources = wish.resources
    if resources.gres is not None or engine.gpus(place) == "never":
        return resources
    if path is None:
        progress("no GPU is chosen for a file that is on the cluster alone: --gres names one")
        return resources
    try:
        found = fit_of(site, name, path, engine, wish.context, wish.slots, resources.partition)
    except AiHowError as error:
        progress(f"no GPU is chosen: {error.message}")
        return resources
    if not found.devices or found.chosen is None:
        if engine.gpus(place) == "needs":
            raise _nothing_holds(engine, found)
        return resources
    progress(f"{found.chosen.why}: --gres {found.chosen.gres}")
    return replace(resources, gres=found.chosen.gres, partition=resources.partition or found.partition)


def _nothing_holds(engine: Engine, found: Fit) -> AiHowError:
    return AiHowError(
        f"{engine.name} computes on GPUs, and the cluster has none that holds {found.model}",
        detail="\n".join(one.why for one in found.considered if one.gres) or None,
        todo="A smaller context, fewer slots or a smaller model may fit; `ai-how serve --dry-run` shows what it needs.",
    )


def _with_memory(
    resources: ReplicaResources, wish: Wish, found: ModelFile, engine: Engine
) -> ReplicaResources:
    if resources.memory is not None:
        return resources
    needed = _need(found.here, wish, engine) if found.here else None
    return replace(resources, memory=memory_for(found.size, needed))


def _need(path: Path, wish: Wish, engine: Engine) -> Need | None:
    """What the model needs; None when its file does not tell."""
    try:
        return need(read_shape(path, engine.name), wish.context, wish.slots, gpu=False, engine=engine.name)
    except AiHowError:
        return None
