"""Which of a cluster's GPUs a model fits, from its own files and the cluster's own GRES. Starts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ai_how.models.source import AtPath, Registered
from ai_how.services.nodes import nodes_of, partitions_of
from ai_how.serving.engines import Engine
from ai_how.serving.fit import Fit, Gres, choose, gres_memory, read_shape
from ai_how.site import work
from ai_how.site.control import Site
from ai_how.site.sources import bring, engine_for, source_of
from ai_how.slurm.model import Offer

#: A node's memory is told in GB as on its box, by the file, and in thousandths of 1024 of that by Slurm.
_MIB = 10**9 // 1024
_SIMULATED = (
    "The GPUs of the provider local are simulated: they are given out, but the engine computes on CPUs."
)


def fit(
    site: Site,
    reference: str,
    *,
    name: str | None = None,
    context: int = 2048,
    slots: int = 2,
    engine: str | None = None,
    partition: str | None = None,
) -> Fit:
    """What a replica of a model would need, and the smallest that has it.

    A path is read where it is; another model that is not on the site's share yet is brought there. Raises
    :class:`NotFound` for a model that does not exist, :class:`AiHowError` for one that does not tell its size.
    """
    chosen = engine_for(reference, engine)
    usual, path = _read_where_it_is(site, reference, chosen)
    return fit_of(site, name or usual, path, chosen, context, slots, partition)


def _read_where_it_is(site: Site, reference: str, engine: Engine) -> tuple[str, Path]:
    """A model's own name and its files, which are not converted for this."""
    match source_of(reference):
        case AtPath(path=path):
            return (path.stem if path.suffix == ".gguf" else path.resolve().name), path
        case Registered():
            name = reference.partition("@")[0].partition(":")[0]
            return name, work.model_folder(site, reference)
        case _:
            found = bring(site, reference, engine, lambda _: None)
            return found.name, found.path


def fit_of(
    site: Site, name: str, path: Path, engine: Engine, context: int, slots: int, partition: str | None = None
) -> Fit:
    """The same for files that are here: in the partition named, or else in the default one, or else in any."""
    shape = read_shape(path, engine.name)
    offered = tuple(offers(site))
    existing = site.file.spec.clusters.hpc.existing
    untyped = existing.jobs.gpu if existing else None
    default = next((one.partition for one in offered if one.default), None)
    others = [] if partition else sorted({one.partition for one in offered} - {default})
    fits = []
    for wanted in (partition or default, *others):
        part = [one for one in offered if one.partition == wanted]
        memories = [one.memory_mb * _MIB for one in part]
        gres = tuple(gres_of(part, untyped))
        found = choose(name, shape, context, slots, gres, memories, engine=engine.name)
        fits.append(replace(found, partition=wanted))
    # GPUs wherever they are go before a node without: the default partition's first.
    best = next((one for one in fits if one.devices), next((one for one in fits if one.chosen), fits[0]))
    return _with_remarks(site, best, usual=partition or default)


def _with_remarks(site: Site, found: Fit, *, usual: str | None) -> Fit:
    remarks = list(found.remarks)
    if found.partition != usual:
        remarks.append(f"The default partition has none that holds it: --partition {found.partition}.")
    if found.devices and site.file.spec.clusters.hpc.provider == "local":
        remarks.append(_SIMULATED)
    return replace(
        found, partition=None if found.partition == usual else found.partition, remarks=tuple(remarks)
    )


def offers(site: Site) -> Iterator[Offer]:
    """What each node gives in each partition: by the file for nodes that are emulated, else by Slurm's own word."""
    if site.file.spec.clusters.hpc.provider != "local":
        yield from site.slurm.offers()
        return
    nodes = {node.name: node for node in nodes_of(site.file.spec, site.gpus)}
    for part in partitions_of(site.file.spec):
        for name in part.nodes:
            node = nodes[name]
            yield Offer(part.name, part.default, name, node.cpus, node.memory_gb * 1024, dict(node.devices))


def gres_of(offered: Iterable[Offer], untyped: str | None = None) -> Iterator[Gres]:
    """Slurm's types of GPU that are offered, by name, and how many of each one node has at most.

    ``untyped`` is what GPUs are that Slurm gives no type.
    """
    most: dict[str, int] = {}
    for one in offered:
        for kind, count in one.gres.items():
            most[kind] = max(count, most.get(kind, 0))
    for kind in sorted(most):
        memory, is_slice = gres_memory(kind or untyped or "")
        yield Gres(kind, memory, most[kind], is_slice)
