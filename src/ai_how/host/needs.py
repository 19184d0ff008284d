"""What a file asks of the machine that carries its site, and what of it this machine cannot give. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.host.checks import Check, Needs, failure, ok, unknown
from ai_how.host.gpus import pci_address
from ai_how.host.machine import Machine
from ai_how.spec.check_host import Sum, check_host, total
from ai_how.spec.model import SiteSpec


def needs_of(spec: SiteSpec) -> Needs:
    """The providers of both clusters, the sums over the virtual machines, the real GPUs and the ports it names."""
    providers = {name: getattr(spec.clusters, name).provider for name in ("hpc", "cloud")}
    made = sum((total(spec, name) for name, provider in providers.items() if provider == "libvirt"), Sum())
    services = spec.clusters.cloud.services
    ports = {name: getattr(services, name).port for name in type(services).model_fields}
    return Needs(
        providers=frozenset(providers.values()),
        cpu_cores=made.cpus,
        memory_gb=made.memory_gb,
        disk_gb=made.disk_gb,
        # A cluster elsewhere has its GPUs there: only virtual machines are given this machine's.
        devices=dict(_devices(spec)) if "libvirt" in providers.values() else {},
        ports={port: name for name, port in ports.items() if port is not None},
        session=any(_session(spec, name) for name in providers),
    )


def _session(spec: SiteSpec, cluster: str) -> bool:
    found = getattr(spec.clusters, cluster)
    return (
        found.provider == "libvirt" and found.libvirt is not None and found.libvirt.uri.endswith("/session")
    )


def networks(spec: SiteSpec, machine: Machine) -> Check | None:
    """Whether the networks that libvirt would make lead elsewhere from this machine already."""
    if "libvirt" not in (spec.clusters.hpc.provider, spec.clusters.cloud.provider):
        return None
    if machine.routes is None:
        return unknown("networks", "nobody could tell which networks this machine reaches")
    routes = [(route.network, route.interface) for route in machine.routes]
    found = [message for _, message, _ in check_host(spec, routes=routes)]
    return (
        failure("networks", "; ".join(found), "ip route")
        if found
        else ok("networks", "no route leads there yet")
    )


def _devices(spec: SiteSpec) -> Iterator[tuple[str, str]]:
    allocation = spec.global_.gpu_allocation
    for device in allocation.devices if allocation else ():
        if device.pci_address:
            yield pci_address(device.pci_address), f"{device.id}, {device.model}"
