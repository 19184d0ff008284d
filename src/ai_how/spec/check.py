"""What one field cannot know of another. Pure: the host's own limits are checked by the plan."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from ai_how.spec import walltime
from ai_how.spec.model import SiteSpec

Found = tuple[tuple[str | int, ...], str, str | None]


def cross_check(spec: SiteSpec) -> Iterator[Found]:
    """Every contradiction, as (path, message, what to do)."""
    yield from _partitions(spec)
    yield from _times(spec)
    yield from _ports(spec)


def _partitions(spec: SiteSpec) -> Iterator[Found]:
    slurm = spec.clusters.hpc.slurm_config
    base = ("clusters", "hpc", "slurm_config")
    names = [partition.name for partition in slurm.partitions]
    for index, partition in enumerate(slurm.partitions):
        if partition.name in names[:index]:
            yield (*base, "partitions", index), f"partition '{partition.name}' is listed twice", None
        count = len(spec.clusters.hpc.nodes_of(partition.model_copy(update={"nodes": None})))
        if partition.nodes is not None and partition.nodes > count:
            yield (
                (*base, "partitions", index, "nodes"),
                f"partition '{partition.name}' spans {partition.nodes} nodes, the cluster has {count}",
                None,
            )
    default = slurm.default_partition
    if default is not None and default not in names:
        close = difflib.get_close_matches(default, names, n=1)
        todo = f"Did you mean '{close[0]}'?" if close else f"There are: {', '.join(names)}."
        yield (*base, "default_partition"), f"there is no partition '{default}'", todo


def _times(spec: SiteSpec) -> Iterator[Found]:
    slurm = spec.clusters.hpc.slurm_config
    base = ("clusters", "hpc", "slurm_config")
    longest = walltime.seconds(slurm.max_job_time)
    for index, partition in enumerate(slurm.partitions):
        if partition.max_time is not None and walltime.seconds(partition.max_time) > longest:
            yield (
                (*base, "partitions", index, "max_time"),
                f"partition '{partition.name}' allows {partition.max_time}, more than max_job_time "
                f"({slurm.max_job_time})",
                "Raise max_job_time, or lower the partition's limit.",
            )


def _ports(spec: SiteSpec) -> Iterator[Found]:
    services = spec.clusters.cloud.services
    taken: dict[int, str] = {}
    for name in type(services).model_fields:
        port = getattr(services, name).port
        if port is None:
            continue
        path = ("clusters", "cloud", "services", name, "port")
        if port in taken:
            yield path, f"port {port} is asked for by {taken[port]} and by {name}", "Give each its own."
        taken[port] = name
