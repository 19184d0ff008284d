"""Node groups, partitions, time limits and storage of the Slurm side. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec import walltime
from ai_how.spec.check import Found
from ai_how.spec.hpc import Partition
from ai_how.spec.load import Path
from ai_how.spec.message import did_you_mean
from ai_how.spec.model import SiteSpec

#: What the provider local calls the cloud side's GPU nodes, before their number, and their partition.
GPU_WORKER, CLOUD = "gpu-worker", "cloud"
_HPC: Path = ("clusters", "hpc")
_SLURM: Path = (*_HPC, "slurm_config")
_NODES: Path = (*_HPC, "compute_nodes")


def there(spec: SiteSpec) -> Iterator[Found]:
    """Only of a cluster that exists already the file need not tell the nodes."""
    if not spec.clusters.hpc.groups and spec.clusters.hpc.provider != "existing":
        todo = "Write `compute_nodes:` with count, cpu_cores and memory_gb."
        yield _NODES, "'clusters.hpc.compute_nodes' is missing", todo


def groups(spec: SiteSpec) -> Iterator[Found]:
    """Where there are several node groups each has a name, and no two nodes have the same."""
    several = isinstance(spec.clusters.hpc.compute_nodes, tuple)
    first: dict[str, str] = {}
    nodes: dict[str, str] = {}
    for index, group in enumerate(spec.clusters.hpc.groups):
        path = (*_NODES, index) if several else _NODES
        if several and group.name is None:
            yield (
                path,
                "a group in a list of groups needs a name",
                "Write `name:`; its nodes are called after it.",
            )
            continue
        name = group.name or "node"
        if name in first:
            yield (*path, "name"), f"there are two groups of the name '{name}'", "Give each its own."
            continue
        first[name] = name
        taken = next((node for node in group.node_names if node in nodes), None)
        if taken is not None:
            yield (
                (*path, "name"),
                f"the groups '{nodes[taken]}' and '{name}' both have a node called {taken}",
                "Give one of the groups another name.",
            )
        nodes.update(dict.fromkeys(group.node_names, name))


def taken(spec: SiteSpec) -> Iterator[Found]:
    """No node group and no partition has a name that the cloud side's GPU nodes have."""
    hpc, workers = spec.clusters.hpc, spec.clusters.cloud.worker_nodes
    if workers is None or workers.gpu_workers is None or not workers.gpu_workers.gpu_enabled:
        return
    for index, group in enumerate(hpc.groups):
        if group.name == GPU_WORKER:
            path: Path = (*_NODES, index) if isinstance(hpc.compute_nodes, tuple) else _NODES
            message = f"'{GPU_WORKER}' is what the nodes of cloud.worker_nodes.gpu_workers are called"
            yield (*path, "name"), message, "Give the group another name."
    for index, partition in enumerate(hpc.slurm_config.partitions):
        if partition.name == CLOUD and spec.clusters.cloud.provider == "local":
            message = f"the partition '{CLOUD}' is that of the cloud side's GPU nodes"
            yield (*_SLURM, "partitions", index), message, "Choose another name."


def misnamed(spec: SiteSpec) -> bool:
    """Whether a group lacks the name that it needs, or has another's: then nobody can tell which names are unknown."""
    nodes = spec.clusters.hpc.compute_nodes
    if not isinstance(nodes, tuple):
        return False
    names = {group.name for group in nodes}
    return None in names or len(names) < len(nodes)


def partitions(spec: SiteSpec) -> Iterator[Found]:
    """Partitions differ, and the default partition is one of them."""
    slurm = spec.clusters.hpc.slurm_config
    names = [partition.name for partition in slurm.partitions]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield (
                (*_SLURM, "partitions", index),
                f"partition '{name}' is listed twice",
                "Keep one, or rename one.",
            )
    default = slurm.default_partition
    # Of two partitions of one name the default one may be meant.
    if default is not None and default not in names and len(set(names)) == len(names):
        yield (
            (*_SLURM, "default_partition"),
            f"there is no partition '{default}'",
            did_you_mean(default, names),
        )


def spans(spec: SiteSpec) -> Iterator[Found]:
    """A partition names node groups that exist, and spans no more nodes than there are."""
    if not spec.clusters.hpc.groups:
        return
    for index, partition in enumerate(spec.clusters.hpc.slurm_config.partitions):
        path = (*_SLURM, "partitions", index)
        unknown = list(_unknown_groups(spec, partition, path))
        yield from unknown
        span = len(spec.clusters.hpc.nodes_of(partition.model_copy(update={"nodes": None})))
        if partition.nodes is not None and partition.nodes > span and not unknown:
            whose = "the cluster has" if partition.groups is None else "its groups have"
            yield (
                (*path, "nodes"),
                f"partition '{partition.name}' spans {partition.nodes} nodes, {whose} {span}",
                f"At most {span}; without `nodes` it spans them all.",
            )


def _unknown_groups(spec: SiteSpec, partition: Partition, path: Path) -> Iterator[Found]:
    known = [group.name for group in spec.clusters.hpc.groups if group.name is not None]
    for number, name in enumerate(partition.groups or ()):
        if name in (partition.groups or ())[:number]:
            yield (
                (*path, "groups", number),
                f"partition '{partition.name}' names the group '{name}' twice",
                None,
            )
        elif name not in known and not misnamed(spec):
            todo = did_you_mean(name, known) if known else "compute_nodes is one group without a name."
            yield (*path, "groups", number), f"there is no node group '{name}'", todo


def times(spec: SiteSpec) -> Iterator[Found]:
    """Time limits nest: a default within its limit, a partition's limit within `max_job_time`."""
    slurm = spec.clusters.hpc.slurm_config
    longest = walltime.seconds(slurm.max_job_time)
    if walltime.seconds(slurm.default_job_time) > longest:
        written = "default_job_time" in slurm.model_fields_set
        yield (
            (*_SLURM, "default_job_time" if written else "max_job_time"),
            f"default_job_time ({slurm.default_job_time}) is longer than max_job_time ({slurm.max_job_time})",
            "Raise max_job_time, or lower default_job_time.",
        )
    for index, partition in enumerate(slurm.partitions):
        path = (*_SLURM, "partitions", index)
        own = partition.max_time or slurm.max_job_time
        if walltime.seconds(own) > longest:
            yield (
                (*path, "max_time"),
                f"partition '{partition.name}' allows {own}, more than max_job_time ({slurm.max_job_time})",
                "Raise max_job_time, or lower the partition's limit.",
            )
        elif partition.default_time and walltime.seconds(partition.default_time) > walltime.seconds(own):
            yield (
                (*path, "default_time"),
                f"partition '{partition.name}' gives jobs {partition.default_time}, more than it allows ({own})",
                "Lower default_time, or raise the partition's limit.",
            )


def storage(spec: SiteSpec) -> Iterator[Found]:
    """No two storages share a name or a path."""
    for key in ("name", "path"):
        seen: set[str] = set()
        for index, one in enumerate(spec.clusters.hpc.storage):
            value = getattr(one, key).rstrip("/") or "/"
            if value in seen:
                yield (
                    (*_HPC, "storage", index, key),
                    f"two storages have the {key} '{value}'",
                    "Give each its own.",
                )
            seen.add(value)
