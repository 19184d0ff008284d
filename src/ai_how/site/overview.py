"""Both clusters as the file asks for them, against what this machine has. Pure: what ``ai-how plan`` shows first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from ai_how.gpu.allocation import Allocation
from ai_how.gpu.demand import cloud_gpu_nodes
from ai_how.gpu.model import Grant
from ai_how.host.inventory import Inventory
from ai_how.services.nodes import given
from ai_how.site.there import gres_words
from ai_how.slurm.facts import ClusterFacts, NodeKind
from ai_how.slurm.render import hostlist
from ai_how.spec import SiteFile
from ai_how.spec.model import NodeGroup, SiteSpec, WorkerGroup

GIB = 2**30


@dataclass(frozen=True)
class Machines:
    """Machines that are alike. ``address`` is what the file gives them; ``devices`` counts Slurm's types over all."""

    cluster: str
    role: str
    names: str
    count: int
    cpus: int
    memory_gb: int
    disk_gb: int | None
    address: str | None
    devices: Mapping[str, int]


@dataclass(frozen=True)
class ServicePort:
    """A port of the site on loopback, and whether it is the file's choice."""

    name: str
    port: int
    chosen: bool


@dataclass(frozen=True)
class Sum:
    """What all machines together ask of a resource, and what this machine has of it."""

    resource: str
    unit: str
    asked: int
    has: int

    @property
    def oversubscribed(self) -> bool:
        return self.asked > self.has


@dataclass(frozen=True)
class Overview:
    """The site as asked, before any step."""

    site: str
    description: str
    providers: Mapping[str, str]
    machines: tuple[Machines, ...]
    services: tuple[ServicePort, ...]
    sums: tuple[Sum, ...]
    gpus: Allocation
    #: What a cluster that exists tells of itself; None where it could not be asked, or is the site's own.
    there: ClusterFacts | None = None

    def as_json(self) -> dict[str, object]:
        return {
            **({"cluster": asdict(self.there)} if self.there else {}),
            "site": self.site,
            "description": self.description,
            "providers": dict(self.providers),
            "machines": [asdict(each) for each in self.machines],
            "services": [asdict(each) for each in self.services],
            "sums": [{**asdict(each), "oversubscribed": each.oversubscribed} for each in self.sums],
            "gpus": [
                {
                    "device": entry.grant.device,
                    "owner": entry.node or entry.grant.consumer,
                    **_place(entry.grant),
                    "demand": entry.grant.demand,
                }
                for entry in self.gpus.entries
            ],
        }


def _place(grant: Grant) -> dict[str, object]:
    if grant.slice is None:
        return {"profile": None, "start": None}
    return {"profile": grant.slice.profile, "start": grant.slice.start}


def overview(
    file: SiteFile,
    gpus: Allocation,
    ports: Mapping[str, int],
    inventory: Inventory,
    there: ClusterFacts | None = None,
) -> Overview:
    """The whole site as it is asked for; of a cluster that exists, what is ``there``."""
    spec = file.spec
    machines = tuple(_machines(spec, gpus, there))
    providers = {"hpc": spec.clusters.hpc.provider, "cloud": spec.clusters.cloud.provider}
    here = tuple(each for each in machines if providers[each.cluster] != "existing")
    return Overview(
        site=spec.name,
        description=spec.metadata.description,
        providers=providers,
        machines=machines,
        services=tuple(_services(spec, ports)),
        sums=tuple(_sums(here, inventory)),
        gpus=gpus,
        there=there,
    )


def _machines(spec: SiteSpec, gpus: Allocation, there: ClusterFacts | None) -> Iterator[Machines]:
    hpc, cloud = spec.clusters.hpc, spec.clusters.cloud
    one = hpc.controller
    # The controller of a cluster that runs already is its owner's; the file need not know it.
    if hpc.provider != "existing" or "controller" in hpc.model_fields_set:
        yield Machines(
            "hpc", "controller", "controller", 1, one.cpu_cores, one.memory_gb, one.disk_gb, one.ip_address,
            {},
        )  # fmt: skip
    if there is not None:
        untyped = hpc.existing.jobs.gpu if hpc.existing else None
        yield from (_kind(kind, untyped) for kind in there.kinds)
    for group in hpc.groups if there is None else ():
        yield _group(group, gpus)
    if (plane := cloud.control_plane) is not None:
        address = plane.ip_address or plane.ip_range
        names = _numbered("control-plane", plane.count)
        yield Machines(
            "cloud", "control plane", names, plane.count, plane.cpu_cores, plane.memory_gb, plane.disk_gb,
            address, {},
        )  # fmt: skip
    workers = cloud.worker_nodes
    if workers is not None and workers.cpu_workers is not None:
        yield _workers("cpu worker", workers.cpu_workers, gpus, ())
    if workers is not None and workers.gpu_workers is not None:
        yield _workers("gpu worker", workers.gpu_workers, gpus, cloud_gpu_nodes(spec))


def _kind(kind: NodeKind, untyped: str | None) -> Machines:
    return Machines(
        "hpc", f"partition {kind.partition}", kind.names, kind.count, kind.cpus, kind.memory_mb // 1024, None,
        kind.partition, gres_words(kind, untyped),
    )  # fmt: skip


def _group(group: NodeGroup, gpus: Allocation) -> Machines:
    own = {device.model: device.count * group.count for device in group.devices}
    return Machines(
        "hpc", "compute node", hostlist(group.node_names), group.count, group.cpu_cores, group.memory_gb,
        group.disk_gb, group.ip_range, _joined(own, group.node_names, gpus),
    )  # fmt: skip


def _workers(role: str, group: WorkerGroup, gpus: Allocation, names: tuple[str, ...]) -> Machines:
    shown = hostlist(names) if names else _numbered(role.replace(" ", "-"), group.count)
    return Machines(
        "cloud", role, shown, group.count, group.cpu_cores, group.memory_gb, group.disk_gb, group.ip_range,
        _joined({}, names, gpus),
    )  # fmt: skip


def _joined(own: Mapping[str, int], names: tuple[str, ...], gpus: Allocation) -> dict[str, int]:
    total = dict(own)
    for name in names:
        for kind, count in given(gpus, name).items():
            total[kind] = total.get(kind, 0) + count
    return total


def _numbered(prefix: str, count: int) -> str:
    return hostlist(f"{prefix}{index:02d}" for index in range(1, count + 1))


def _services(spec: SiteSpec, ports: Mapping[str, int]) -> Iterator[ServicePort]:
    asked = spec.clusters.cloud.services
    fixed = {
        name.replace("_", "-") for name in type(asked).model_fields if getattr(asked, name).port is not None
    }
    # Slurm of the other providers listens on machines of its own, not here.
    elsewhere = ("slurmd-",) if spec.clusters.hpc.provider == "local" else ("slurm",)
    for name, port in sorted(ports.items(), key=lambda pair: pair[1]):
        if not name.startswith(elsewhere):
            yield ServicePort(name, port, name in fixed)


def _sums(machines: tuple[Machines, ...], inventory: Inventory) -> Iterator[Sum]:
    if not machines:
        return
    yield Sum("CPUs", "", sum(each.count * each.cpus for each in machines), inventory.cpus)
    memory = sum(each.count * each.memory_gb for each in machines)
    yield Sum("memory", "GiB of memory", memory, inventory.memory // GIB)
    if any(each.disk_gb for each in machines):
        disk = sum(each.count * (each.disk_gb or 0) for each in machines)
        yield Sum("disk", "GiB of disk", disk, inventory.disk_free // GIB)
