"""What a file asks of the machine that carries its site. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.host.checks import Needs
from ai_how.host.gpus import pci_address
from ai_how.spec.model import SiteSpec

#: Disk of a virtual machine whose file names none, in GiB: what Debian's cloud image and a little work take.
_DISK = 10


def needs_of(spec: SiteSpec) -> Needs:
    """The providers of both clusters, the sums over the virtual machines, the real GPUs and the ports it names."""
    machines = list(_virtual_machines(spec))
    providers = frozenset({spec.clusters.hpc.provider, spec.clusters.cloud.provider})
    services = spec.clusters.cloud.services
    ports = {name: getattr(services, name).port for name in type(services).model_fields}
    return Needs(
        providers=providers,
        cpu_cores=sum(count * cores for count, cores, _, _ in machines),
        memory_gb=sum(count * memory for count, _, memory, _ in machines),
        disk_gb=sum(count * disk for count, _, _, disk in machines),
        # A cluster elsewhere has its GPUs there: only virtual machines are given this machine's.
        devices=dict(_devices(spec)) if "libvirt" in providers else {},
        ports={port: name for name, port in ports.items() if port is not None},
    )


def _virtual_machines(spec: SiteSpec) -> Iterator[tuple[int, int, int, int]]:
    """Count, CPUs, memory and disk (GiB) of each kind of virtual machine."""
    hpc, cloud = spec.clusters.hpc, spec.clusters.cloud
    if hpc.provider == "libvirt":
        controller = hpc.controller
        yield 1, controller.cpu_cores, controller.memory_gb, controller.disk_gb or _DISK
        for group in hpc.groups:
            yield group.count, group.cpu_cores, group.memory_gb, group.disk_gb or _DISK
    if cloud.provider == "libvirt":
        workers = cloud.worker_nodes
        several = (cloud.control_plane, *((workers.cpu_workers, workers.gpu_workers) if workers else ()))
        for each in several:
            if each is not None:
                yield each.count, each.cpu_cores, each.memory_gb, each.disk_gb or _DISK


def _devices(spec: SiteSpec) -> Iterator[tuple[str, str]]:
    allocation = spec.global_.gpu_allocation
    for device in allocation.devices if allocation else ():
        if device.pci_address:
            yield pci_address(device.pci_address), f"{device.id}, {device.model}"
