"""Which of a cluster's GPUs a model fits, from its own files and the cluster's own GRES. Starts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ai_how.errors import NotFound
from ai_how.models.source import AtPath, InLibrary, OnHub, Registered
from ai_how.services.nodes import nodes_of, partitions_of
from ai_how.serving.engines import Engine
from ai_how.serving.fit import Fit, Gres, choose, gres_memory, read_shape
from ai_how.serving.replicas import check_name
from ai_how.site import work
from ai_how.site.control import Site
from ai_how.site.sources import engine_for, kept, source_of
from ai_how.slurm.model import Offer
from ai_how.spec.hpc import NORMAL_QOS, SITE_ACCOUNT
from ai_how.spec.message import did_you_mean

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
    gres: str | None = None,
    account: str | None = None,
    qos: str | None = None,
) -> Fit:
    """What a replica of a model would need, and the smallest that has it; of ``gres`` alone where that is named.

    A model is read where it is; nothing is fetched from elsewhere, converted or built for this. Raises
    :class:`NotFound` for a model that is not here, a partition or a GRES that does not exist, :class:`AiHowError` for a
    model that does not tell its size, or that cannot be served by that name.
    """
    chosen = engine_for(reference, engine)
    refuse_absent(site, partition, gres)
    refuse_unknown(site, account, qos)
    usual, path = _read_where_it_is(site, reference, chosen)
    check_name(name or usual)
    return fit_of(site, name or usual, path, chosen, context, slots, partition, gres)


def refuse_unknown(site: Site, account: str | None, qos: str | None) -> None:
    """Raise :class:`NotFound` for an account or a QOS that the site's own Slurm does not know.

    Slurm itself asks for neither as long as the file has no account and no QOS: jobs would be charged to nobody.
    """
    if site.file.spec.clusters.hpc.provider != "local":
        return  # elsewhere Slurm says so
    slurm = site.file.spec.clusters.hpc.slurm_config
    accounts = [*(one.name for one in slurm.accounts), SITE_ACCOUNT]
    levels = [*(one.name for one in slurm.qos), NORMAL_QOS]
    for word, key, value, known in (
        ("account", "accounts", account, accounts),
        ("QOS", "qos", qos, levels),
    ):
        if value is not None and value not in known:
            place = f"They stand in the site's file under slurm_config.{key}."
            raise NotFound(f"there is no {word} {value!r}", todo=f"{did_you_mean(value, known)} {place}")


def refuse_absent(site: Site, partition: str | None, gres: str | None) -> None:
    """Raise :class:`NotFound` for a partition that the cluster has not, or a GRES that no node there has so often."""
    if partition is None and gres is None:
        return
    offered = tuple(offers(site))
    names = sorted({one.partition for one in offered})
    if partition is not None and partition not in names:
        raise NotFound(f"there is no partition {partition!r}", todo=did_you_mean(partition, names))
    if gres is None or not gres.startswith("gpu"):
        return
    there = [one for one in offered if partition in (None, one.partition)]
    if not any(_has(one, gres) for one in there):
        held = sorted({_named(kind, count) for one in there for kind, count in one.gres.items()})
        where = f"in the partition {partition!r}" if partition else "of the cluster"
        raise NotFound(
            f"no node {where} has {gres}",
            todo=f"Nodes have at most: {', '.join(held)}." if held else "It has no GPUs: leave --gres out.",
        )


def _named(kind: str, count: int) -> str:
    return f"gpu:{kind}:{count}" if kind else f"gpu:{count}"


def _has(offered: Offer, gres: str) -> bool:
    kind, count = split_gres(gres)
    return (offered.gres.get(kind, 0) if kind else sum(offered.gres.values())) >= count


def split_gres(gres: str) -> tuple[str, int]:
    """The type, "" for none, and the number that Slurm's ``gpu[:type][:number]`` asks for. Pure."""
    words = gres.split(":")[1:]
    count = int(words.pop()) if words and words[-1].isdigit() else 1
    return (words[0] if words else ""), count


def _read_where_it_is(site: Site, reference: str, engine: Engine) -> tuple[str, Path]:
    """A model's own name and its files, which are not converted for this."""
    match source_of(reference):
        case AtPath(path=path):
            return (path.stem if path.suffix == ".gguf" else path.resolve().name), path
        case Registered():
            name = reference.partition("@")[0].partition(":")[0]
            return name, work.model_folder(site, reference)
        case (OnHub() | InLibrary()) as source:
            found = kept(site, source, engine)
            return found.name, found.path


def fit_of(
    site: Site,
    name: str,
    path: Path,
    engine: Engine,
    context: int,
    slots: int,
    partition: str | None = None,
    only: str | None = None,
) -> Fit:
    """The same for files that are here: in the partition named, or else in the default one, or else in any.

    ``only`` is a GRES: no other is looked at.
    """
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
        gres = tuple(one for one in gres_of(part, untyped) if not only or _same(one, only))
        found = choose(name, shape, context, slots, gres, memories, engine=engine.name)
        fits.append(replace(found, partition=wanted))
    # GPUs wherever they are go before a node without: the default partition's first.
    best = next((one for one in fits if one.devices), next((one for one in fits if one.chosen), fits[0]))
    return _with_remarks(site, best, usual=partition or default)


def _same(one: Gres, only: str) -> bool:
    kind, _ = split_gres(only)
    return not kind or one.type == kind


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
