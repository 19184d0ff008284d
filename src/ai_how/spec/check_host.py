"""What the file asks for against the facts of a host, which come from outside. Pure.

The provider libvirt makes networks and machines on this host: they need room, and devices that exist. The provider
local makes processes, and shares; the provider existing asks nothing of this host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from ai_how.spec.check import Found
from ai_how.spec.check_network import named
from ai_how.spec.load import Path
from ai_how.spec.message import did_you_mean
from ai_how.spec.model import NodeGroup, SiteSpec, WorkerGroup

CLUSTERS = ("hpc", "cloud")


@dataclass(frozen=True)
class Sum:
    """What machines take together: CPUs, and memory and disk in GiB."""

    cpus: int = 0
    memory_gb: int = 0
    disk_gb: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.cpus + other.cpus, self.memory_gb + other.memory_gb, self.disk_gb + other.disk_gb)


def total(spec: SiteSpec, cluster: str) -> Sum:
    """What the machines of ``hpc`` or ``cloud`` take together."""
    if cluster == "hpc":
        hpc = spec.clusters.hpc
        found = Sum(hpc.controller.cpu_cores, hpc.controller.memory_gb, hpc.controller.disk_gb or 0)
        return sum((_of(group) for group in hpc.groups), found)
    cloud, found = spec.clusters.cloud, Sum()
    if cloud.control_plane is not None:
        plane = cloud.control_plane
        found += Sum(
            plane.count * plane.cpu_cores, plane.count * plane.memory_gb, plane.count * (plane.disk_gb or 0)
        )
    for name in ("cpu_workers", "gpu_workers"):
        workers = getattr(cloud.worker_nodes, name, None)
        found += _of(workers) if workers is not None else Sum()
    return found


def _of(group: NodeGroup | WorkerGroup) -> Sum:
    return Sum(
        group.count * group.cpu_cores, group.count * group.memory_gb, group.count * (group.disk_gb or 0)
    )


def check_host(
    spec: SiteSpec,
    *,
    routes: Iterable[tuple[str, str]] = (),
    pci_addresses: Iterable[str] | None = None,
    memory_gb: int | None = None,
) -> Iterator[Found]:
    """What this host cannot do.

    ``routes`` are its IPv4 routes as (network, interface); ``pci_addresses`` those of its GPUs; ``memory_gb`` its
    memory in GiB. None is what nobody could tell, and is not judged.
    """
    yield from _routes(spec, list(routes))
    if "libvirt" not in (spec.clusters.hpc.provider, spec.clusters.cloud.provider):
        return
    if pci_addresses is not None:
        yield from _missing(spec, {_slot(address): address for address in pci_addresses})
    wanted = _made_here(spec).memory_gb
    if memory_gb is not None and wanted > memory_gb:
        path: Path = ("clusters", "hpc" if spec.clusters.hpc.provider == "libvirt" else "cloud")
        yield (
            path,
            f"the virtual machines have {wanted} GiB of memory together, this machine has {memory_gb} GiB",
            "Give them less, or ask for fewer: memory that is not there cannot be shared.",
        )


def shared_by(spec: SiteSpec, *, cpus: int | None = None, disk_gb: int | None = None) -> Iterator[Found]:
    """What virtual machines share though the file gives it to each: allowed, and worth knowing."""
    wanted = _made_here(spec)
    cluster = "hpc" if spec.clusters.hpc.provider == "libvirt" else "cloud"
    if cpus is not None and wanted.cpus > cpus:
        message = (
            f"the virtual machines have {wanted.cpus} CPUs together, this machine has {cpus}: they take turns"
        )
        yield ("clusters", cluster), message, None
    if disk_gb is not None and wanted.disk_gb > disk_gb:
        message = f"the virtual machines' disks may grow to {wanted.disk_gb} GiB together, {disk_gb} GiB are free here"
        yield ("clusters", cluster), message, None


def _made_here(spec: SiteSpec) -> Sum:
    made = [name for name in CLUSTERS if getattr(spec.clusters, name).provider == "libvirt"]
    return sum((total(spec, name) for name in made), Sum())


def _routes(spec: SiteSpec, routes: list[tuple[str, str]]) -> Iterator[Found]:
    for name, network in named(spec).items():
        cluster = getattr(spec.clusters, name.removesuffix("_network"))
        if cluster.provider != "libvirt":
            continue
        subnet = IPv4Network(network.subnet)
        for text, interface in routes:
            route = IPv4Network(text, strict=False)
            # The default route leads everywhere; the bridge's own is this network, from an earlier `up`.
            if route.prefixlen and route.overlaps(subnet) and interface != network.bridge:
                yield (
                    ("global", "networks", name, "subnet"),
                    f"the subnet {subnet} overlaps {route}, which this machine reaches by {interface}",
                    "Choose a subnet that leads nowhere else from here; `ip route` shows those in use.",
                )
                break


def _missing(spec: SiteSpec, there: dict[tuple[int, ...], str]) -> Iterator[Found]:
    allocation = spec.global_.gpu_allocation
    for index, device in enumerate(allocation.devices if allocation else ()):
        if device.pci_address is not None and _slot(device.pci_address) not in there:
            yield (
                ("global", "gpu_allocation", "devices", index, "pci_address"),
                f"this machine has no GPU at {device.pci_address}",
                did_you_mean(device.pci_address, there.values()),
            )


def _slot(address: str) -> tuple[int, ...]:
    """A PCI address as numbers: NVML writes more zeros than lspci."""
    return tuple(int(part, 16) for part in address.replace(".", ":").split(":"))
