"""The nodes that the provider ``local`` emulates in Slurm, and the partitions over them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ai_how.gpu.allocation import Allocation
from ai_how.gpu.demand import cloud_gpu_nodes
from ai_how.gpu.render import simulated_type
from ai_how.slurm.model import Partition
from ai_how.spec.model import SiteSpec
from ai_how.spec.serving import seconds

#: The partition of the cloud side's GPU nodes. Without Kubernetes, what serves models there are Slurm jobs, too.
CLOUD = "cloud"


@dataclass(frozen=True)
class EmulatedNode:
    """A node of either side, as one slurmd. ``devices`` counts its simulated GPUs and slices by Slurm's type."""

    name: str
    cpus: int
    memory_gb: int
    devices: Mapping[str, int]


def node_names(spec: SiteSpec) -> tuple[str, ...]:
    """Every node that gets a slurmd: the compute nodes, then the cloud side's GPU workers."""
    return (*spec.node_names, *cloud_gpu_nodes(spec))


def nodes_of(spec: SiteSpec, allocation: Allocation) -> Iterator[EmulatedNode]:
    """Every emulated node with what it has: devices of its own, and its part of the allocation."""
    for members in spec.clusters.hpc.groups:
        own = Counter({device.model: device.count for device in members.devices})
        for name in members.node_names:
            yield EmulatedNode(name, members.cpu_cores, members.memory_gb, own + given(allocation, name))
    workers = spec.clusters.cloud.worker_nodes
    if workers is None or workers.gpu_workers is None:
        return
    group = workers.gpu_workers
    for name in cloud_gpu_nodes(spec):
        yield EmulatedNode(name, group.cpu_cores, group.memory_gb, given(allocation, name))


def given(allocation: Allocation, node: str) -> Counter[str]:
    """How many of each of Slurm's types a node has of the allocation."""
    return Counter(
        simulated_type(allocation.device(entry.grant.device), entry.grant.slice)
        for entry in allocation.of_node(node)
    )


def partitions_of(spec: SiteSpec) -> Iterator[Partition]:
    """The file's partitions, and one for the cloud side's GPU nodes where there are any."""
    hpc = spec.clusters.hpc
    slurm = hpc.slurm_config
    for partition in slurm.partitions:
        yield Partition(
            name=partition.name,
            nodes=hpc.nodes_of(partition),
            max_time=partition.max_time or slurm.max_job_time,
            default_time=partition.default_time or slurm.default_job_time,
            default=partition.name == hpc.default_partition,
            priority=partition.priority,
            qos=partition.qos,
            preempt_mode=partition.preempt_mode.upper() if partition.preempt_mode else None,
            grace_time=int(seconds(partition.grace_time)) if partition.grace_time else None,
        )
    if cloud := cloud_gpu_nodes(spec):
        yield Partition(CLOUD, cloud, slurm.max_job_time, slurm.default_job_time)
