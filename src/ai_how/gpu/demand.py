"""From the file to what the planner takes: its devices, its demands, and which node gets what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ai_how.gpu.catalogue import kind_of
from ai_how.gpu.model import Demand, Device, Grant, Kind, Placement
from ai_how.spec.model import SiteSpec

#: The smallest demand there is: whatever a device's smallest allowed profile holds.
SMALLEST = (1, 1)
GPU_WORKERS = "cloud.worker_nodes.gpu_workers"


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: what ``consumer`` was granted, and the node that has it (None: any of its cluster)."""

    node: str | None
    grant: Grant


def devices_of(spec: SiteSpec) -> tuple[Device, ...]:
    """The devices that the file lists; a model that the catalogue does not know can be given as a whole only."""
    allocation = spec.global_.gpu_allocation
    if allocation is None:
        return ()
    return tuple(
        Device(
            id=device.id,
            kind=kind_of(device.model) or _unknown(device.model),
            pci_address=device.pci_address or "",
            mig=device.mig_capable and allocation.strategy != "whole",
            allowed=device.allowed_mig_profiles,
            product=device.model,
        )
        for device in allocation.devices
    )


def _unknown(model: str) -> Kind:
    short = "_".join(model.lower().removeprefix("nvidia ").split())
    return Kind(key=short.replace("_", "-"), short=short, products=(model,), memory_gb=0)


def demands_of(spec: SiteSpec) -> tuple[Demand, ...]:
    """What the file asks for: the counts of each cluster first, then the finer demands in their order."""
    allocation = spec.global_.gpu_allocation
    if allocation is None:
        return ()
    return (*_counts(spec), *_finer(spec))


def _counts(spec: SiteSpec) -> Iterator[Demand]:
    allocation = spec.global_.gpu_allocation
    assert allocation is not None
    for cluster in ("hpc", "cloud"):
        if count := getattr(allocation.mig_slices, cluster):
            yield Demand(f"mig_slices.{cluster}", cluster, count, at_least=SMALLEST)
        if count := getattr(allocation.whole_gpus, cluster):
            yield Demand(f"whole_gpus.{cluster}", cluster, count, whole=True)


def _finer(spec: SiteSpec) -> Iterator[Demand]:
    allocation = spec.global_.gpu_allocation
    assert allocation is not None
    for demand in allocation.demands:
        least = demand.at_least
        yield Demand(
            name=demand.name,
            consumer=demand.for_,
            count=demand.count,
            profile=demand.profile,
            at_least=(least.memory_gb, least.compute_slices) if least else None,
            whole=demand.whole,
            device=demand.device,
            start=demand.start,
            spreading=demand.placement,
        )


def holders(spec: SiteSpec) -> Mapping[str, tuple[str, ...]]:
    """The GPU nodes behind every consumer that is a cluster or a group of nodes, in their order."""
    hpc = [name for name in spec.node_names if spec.group_of(name).gpu_enabled]
    found: dict[str, tuple[str, ...]] = {"hpc": tuple(hpc), "hpc.compute_nodes": tuple(hpc)}
    for group in spec.clusters.hpc.groups:
        if group.name is not None:
            members = tuple(name for name in hpc if spec.group_of(name) is group)
            found[f"hpc.compute_nodes.{group.name}"] = members
    cloud = cloud_gpu_nodes(spec)
    return {**found, "cloud": cloud, GPU_WORKERS: cloud}


def cloud_gpu_nodes(spec: SiteSpec) -> tuple[str, ...]:
    """The cloud side's nodes that take part in the allocation: gpu-worker01 and so on."""
    workers = spec.clusters.cloud.worker_nodes
    group = workers.gpu_workers if workers else None
    if group is None or not group.gpu_enabled:
        return ()
    return tuple(f"gpu-worker{index:02d}" for index in range(1, group.count + 1))


def ledger(spec: SiteSpec, placement: Placement) -> tuple[Entry, ...]:
    """Who has what: the units of each consumer go to its nodes one after another."""
    nodes = holders(spec)
    given: dict[str, int] = {}
    entries = []
    for grant in placement.grants:
        members = nodes.get(grant.consumer, ())
        turn = given.get(grant.consumer, 0)
        given[grant.consumer] = turn + 1
        entries.append(Entry(members[turn % len(members)] if members else None, grant))
    return tuple(entries)
