"""Networks and addresses. Pure: the networks that this machine has besides are checked by ``check_host``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from ai_how.spec.check import Found
from ai_how.spec.load import Path
from ai_how.spec.model import Network, SiteSpec
from ai_how.spec.values import bounds

NETWORKS = ("hpc_network", "cloud_network")
_NETWORKS: Path = ("global", "networks")
_CLOUD: Path = ("clusters", "cloud")
_HPC: Path = ("clusters", "hpc")


@dataclass(frozen=True)
class Holder:
    """Who has the addresses from ``first`` to ``last``; ``count`` machines need one each."""

    path: Path
    who: str
    first: int
    last: int
    count: int = 1

    @property
    def text(self) -> str:
        first, last = IPv4Address(self.first), IPv4Address(self.last)
        return str(first) if first == last else f"{first} to {last}"


def holders(spec: SiteSpec, network: str) -> Iterator[Holder]:
    """Every address that the file gives to a machine of ``hpc_network`` or ``cloud_network``."""
    if network == "hpc_network":
        hpc = spec.clusters.hpc
        yield from _holder(
            (*_HPC, "controller", "ip_address"), "the controller", hpc.controller.ip_address, 1
        )
        several = isinstance(hpc.compute_nodes, tuple)
        for index, group in enumerate(hpc.groups):
            path: Path = (*_HPC, "compute_nodes", index) if several else (*_HPC, "compute_nodes")
            who = f"the group '{group.name}'" if group.name else "compute_nodes"
            yield from _holder((*path, "ip_range"), who, group.ip_range, group.count)
        return
    plane, workers = spec.clusters.cloud.control_plane, spec.clusters.cloud.worker_nodes
    if plane is not None:
        path = (*_CLOUD, "control_plane")
        yield from _holder((*path, "ip_address"), "control_plane", plane.ip_address, 1)
        # A count that cannot be is told of elsewhere, and its range not besides.
        count = plane.count if plane.count in (1, 3, 5) else 1
        yield from _holder((*path, "ip_range"), "control_plane", plane.ip_range, count)
        yield from _holder((*path, "virtual_ip"), "virtual_ip", plane.virtual_ip, 1)
    for name in ("cpu_workers", "gpu_workers"):
        workers_of = getattr(workers, name, None)
        if workers_of is not None:
            path = (*_CLOUD, "worker_nodes", name, "ip_range")
            yield from _holder(path, name, workers_of.ip_range, workers_of.count)


def _holder(path: Path, who: str, text: str | None, count: int) -> Iterator[Holder]:
    if text is not None:
        first, last = bounds(text)
        yield Holder(path, who, first, last, count)


def named(spec: SiteSpec) -> dict[str, Network]:
    """The networks that the file describes, by name."""
    found = spec.global_.networks
    pairs = (("hpc_network", found.hpc_network), ("cloud_network", found.cloud_network))
    return {name: network for name, network in pairs if network is not None}


def networks(spec: SiteSpec) -> Iterator[Found]:
    """The two networks share neither addresses nor a bridge; the gateway is no leased address."""
    found = named(spec)
    if len(found) == 2:
        hpc, cloud = found["hpc_network"], found["cloud_network"]
        if _overlap(spec):
            yield (
                (*_NETWORKS, "cloud_network", "subnet"),
                f"the subnet {cloud.subnet} overlaps that of hpc_network, {hpc.subnet}",
                "Choose subnets that share no address.",
            )
        if hpc.bridge is not None and hpc.bridge == cloud.bridge:
            message = f"both networks have the bridge '{cloud.bridge}'"
            yield (*_NETWORKS, "cloud_network", "bridge"), message, "Give each its own."
    for name, network in found.items():
        yield from _leased(name, network)


def _overlap(spec: SiteSpec) -> bool:
    subnets = [IPv4Network(network.subnet) for network in named(spec).values()]
    return len(subnets) == 2 and subnets[0].overlaps(subnets[1])


def _leased(name: str, network: Network) -> Iterator[Found]:
    """The gateway is no leased address. That both are inside is told with the addresses of the machines."""
    if network.gateway is None or network.dhcp_range is None:
        return
    first, last = bounds(network.dhcp_range)
    if first <= int(IPv4Address(network.gateway)) <= last:
        message = f"the leased addresses {network.dhcp_range} hold the gateway, {network.gateway}"
        yield (*_NETWORKS, name, "dhcp_range"), message, "Lease addresses that nobody has."


def ranges(spec: SiteSpec) -> Iterator[Found]:
    """A range of addresses has one for each machine."""
    for name in NETWORKS:
        yield from _too_few(list(holders(spec, name)))


def addresses(spec: SiteSpec) -> Iterator[Found]:
    """Addresses are inside their subnet, apart from what is leased, and each is given to one machine."""
    for name in NETWORKS:
        found = list(holders(spec, name))
        network = named(spec).get(name)
        outside: set[Path] = set()
        if network is not None:
            wrong = [] if _overlap(spec) else list(_outside(name, network, found))
            outside = {path for path, _, _ in wrong}
            yield from _at_once(name, network, found, wrong)
            if (*_NETWORKS, name, "dhcp_range") not in outside:
                yield from _leased_twice(name, network, [one for one in found if one.path not in outside])
        yield from _shared([one for one in found if one.path not in outside], name, network)


def _too_few(found: list[Holder]) -> Iterator[Found]:
    for one in found:
        size = one.last - one.first + 1
        if size < one.count:
            s = "" if size == 1 else "es"
            yield (
                one.path,
                f"the range has {size} address{s}, {one.who} has {one.count} machines that need one each",
                f"It would end at {IPv4Address(min(one.first + one.count - 1, 2**32 - 1))}.",
            )


def _outside(name: str, network: Network, found: list[Holder]) -> Iterator[Found]:
    subnet = IPv4Network(network.subnet)
    lowest, highest = int(subnet.network_address), int(subnet.broadcast_address)
    if subnet.prefixlen < 31:
        lowest, highest = lowest + 1, highest - 1
    own = (
        Holder((*_NETWORKS, name, key), "", *bounds(text))
        for key, text in (("gateway", network.gateway), ("dhcp_range", network.dhcp_range))
        if text is not None
    )
    for one in (*own, *found):
        if one.first < lowest or one.last > highest:
            yield (
                one.path,
                f"{one.text} is not among the addresses of {name} ({network.subnet})",
                f"Its machines have {IPv4Address(lowest)} to {IPv4Address(highest)}.",
            )


def _at_once(name: str, network: Network, found: list[Holder], wrong: list[Found]) -> Iterator[Found]:
    """Where every address is outside, it is the subnet that is wrong, and told once."""
    written = len(found) + (network.gateway is not None) + (network.dhcp_range is not None)
    if len(wrong) < 2 or len(wrong) < written:
        yield from wrong
        return
    first = found[0] if found else None
    yield (
        (*_NETWORKS, name, "subnet"),
        f"none of the addresses given to {name} is in its subnet, {network.subnet}",
        f"{first.who[:1].upper()}{first.who[1:]} has {first.text}." if first else None,
    )


def _leased_twice(name: str, network: Network, found: list[Holder]) -> Iterator[Found]:
    if network.dhcp_range is None:
        return
    first, last = bounds(network.dhcp_range)
    clash = next((one for one in found if one.first <= last and first <= one.last), None)
    if clash is not None:
        yield (
            (*_NETWORKS, name, "dhcp_range"),
            f"the leased addresses {network.dhcp_range} meet those of {clash.who} ({clash.text})",
            "Lease addresses that nobody has.",
        )


def _shared(found: list[Holder], name: str, network: Network | None) -> Iterator[Found]:
    """No two have one address. Each is told once, of the one before it in the file's order."""
    if network is not None and network.gateway is not None:
        gateway = int(IPv4Address(network.gateway))
        found = [Holder((*_NETWORKS, name, "gateway"), f"the gateway of {name}", gateway, gateway), *found]
    order = {one.path: number for number, one in enumerate(found)}
    reach: Holder | None = None
    for one in sorted(found, key=lambda one: (one.first, order[one.path])):
        if reach is not None and one.first <= reach.last:
            early, late = sorted((reach, one), key=lambda holder: order[holder.path])
            first, last = max(early.first, late.first), min(early.last, late.last)
            both = Holder(late.path, late.who, first, last)
            yield (
                late.path,
                f"{both.text}: {early.who} has it already",
                "Give each machine an address of its own.",
            )
        if reach is None or one.last > reach.last:
            reach = one


def pods(spec: SiteSpec) -> Iterator[Found]:
    """Pods, Kubernetes services and machines have addresses apart from each other."""
    config = spec.clusters.cloud.kubernetes_config
    if config is None:
        return
    path = (*_CLOUD, "kubernetes_config")
    taken = [
        (f"{name} ({network.subnet})", IPv4Network(network.subnet)) for name, network in named(spec).items()
    ]
    for key in ("pod_subnet", "service_subnet"):
        subnet = IPv4Network(getattr(config, key))
        clash = next((who for who, other in taken if subnet.overlaps(other)), None)
        if clash is not None:
            yield (*path, key), f"{key} {subnet} overlaps {clash}", "Choose subnets that share no address."
        taken.append((f"{key} ({subnet})", subnet))
