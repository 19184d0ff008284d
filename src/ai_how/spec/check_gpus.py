"""GPUs and who gets them. Whether a card can do it is checked in the room ``gpu``. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ai_how.spec.check import Found
from ai_how.spec.check_slurm import misnamed
from ai_how.spec.gpus import GpuAllocation, GpuDemand
from ai_how.spec.load import Path
from ai_how.spec.message import did_you_mean
from ai_how.spec.model import SiteSpec

_GPUS: Path = ("global", "gpu_allocation")
CLUSTERS = ("hpc", "cloud")
SHARES = ("mig_slices", "whole_gpus")


def devices(spec: SiteSpec) -> Iterator[Found]:
    """No two devices have one id or one PCI address."""
    ids: set[str] = set()
    slots: dict[tuple[int, ...], str] = {}
    for index, device in enumerate(_allocation(spec).devices):
        path = (*_GPUS, "devices", index)
        if device.id in ids:
            yield (*path, "id"), f"two devices have the id '{device.id}'", "Give each its own."
        ids.add(device.id)
        if device.pci_address is not None:
            slot = tuple(int(part, 16) for part in device.pci_address.replace(".", ":").split(":"))
            if slot in slots:
                yield (
                    (*path, "pci_address"),
                    f"the PCI address {device.pci_address} is that of '{slots[slot]}' already",
                    "`ai-how gpu inventory` shows the addresses of this machine.",
                )
            slots.setdefault(slot, device.id)


def profiles(spec: SiteSpec) -> Iterator[Found]:
    """Only a device that can be partitioned allows profiles, and each once."""
    for index, device in enumerate(_allocation(spec).devices):
        path = (*_GPUS, "devices", index, "allowed_mig_profiles")
        allowed = device.allowed_mig_profiles or ()
        if allowed and not device.mig_capable:
            message = f"'{device.id}' allows MIG profiles, and is not mig_capable"
            yield path, message, "Write `mig_capable: true`, or remove the profiles."
        for number, profile in enumerate(allowed):
            if profile in allowed[:number]:
                yield (*path, number), f"profile '{profile}' is listed twice", "Remove one."


def strategy(spec: SiteSpec) -> Iterator[Found]:
    """What is asked for agrees with the strategy, and there are as many devices as are asked for whole."""
    asked = _allocation(spec)
    if not asked.devices:
        if any(_given(asked, cluster) for cluster in CLUSTERS):
            yield _GPUS, "GPUs are asked for, and no device is listed", "List them under `devices`."
        return
    if asked.strategy != "hybrid":
        yield from _against(asked, "slices" if asked.strategy == "whole" else "whole devices")
    yield from _none_for_slices(asked)
    whole = asked.whole_gpus.hpc + asked.whole_gpus.cloud
    demanded = sum(demand.count for demand in asked.demands if demand.whole)
    if asked.strategy != "mig" and whole + demanded > len(asked.devices):
        path: Path = (*_GPUS, "whole_gpus")
        if not whole:
            path = (
                *_GPUS,
                "demands",
                next(index for index, demand in enumerate(asked.demands) if demand.whole),
            )
        yield (
            path,
            f"{whole + demanded} whole devices are asked for, and {len(asked.devices)} listed",
            "Ask for fewer, or list more under `devices`.",
        )


def _against(asked: GpuAllocation, what: str) -> Iterator[Found]:
    """What the strategy does not give out; where several ask for it, it is the strategy that is told of, once."""
    key = "mig_slices" if what == "slices" else "whole_gpus"
    paths: list[Path] = [
        (*_GPUS, key, cluster) for cluster in CLUSTERS if getattr(getattr(asked, key), cluster)
    ]
    paths += [
        (*_GPUS, "demands", index)
        for index, demand in enumerate(asked.demands)
        if demand.whole == (key == "whole_gpus")
    ]
    todo = "Write `strategy: hybrid`, or ask for none."
    if len(paths) == 1:
        yield paths[0], f"{what} are asked for, and the strategy '{asked.strategy}' gives out none", todo
    elif paths:
        message = f"the strategy '{asked.strategy}' gives out no {what}, and {len(paths)} places ask for them"
        yield (*_GPUS, "strategy"), message, todo


def _none_for_slices(asked: GpuAllocation) -> Iterator[Found]:
    # A device that allows profiles was meant to be capable: that is told where they stand.
    if asked.strategy == "whole" or any(
        device.mig_capable or device.allowed_mig_profiles for device in asked.devices
    ):
        return
    todo = "Write `mig_capable: true` for a device that is, or ask for whole devices."
    for cluster in CLUSTERS:
        if getattr(asked.mig_slices, cluster):
            yield (*_GPUS, "mig_slices", cluster), "slices are asked for, and no device is mig_capable", todo
            return
    for index, demand in enumerate(asked.demands):
        if not demand.whole and demand.device is None:
            message = f"the demand '{demand.name}' is for slices, and no device is mig_capable"
            yield (*_GPUS, "demands", index), message, todo
            return


def demands(spec: SiteSpec) -> Iterator[Found]:
    """Demands have names of their own, go to nodes that exist and take GPUs, and name devices that exist."""
    asked = _allocation(spec)
    by_id = {device.id: device for device in asked.devices}
    names: set[str] = set()
    nodes = targets(spec)
    told = {cluster for cluster in CLUSTERS if any(getattr(getattr(asked, key), cluster) for key in SHARES)}
    for index, demand in enumerate(asked.demands):
        path = (*_GPUS, "demands", index)
        if demand.name in names:
            yield (*path, "name"), f"two demands have the name '{demand.name}'", "Give each its own."
        names.add(demand.name)
        cluster = demand.for_.partition(".")[0]
        if nodes.get(cluster, 1) or cluster not in told:
            yield from _target(spec, demand, path)
        if not nodes.get(cluster, 1):
            # That a whole cluster takes no GPUs is told once, here or where its share is.
            told.add(cluster)
        if demand.device is None or not asked.devices:
            continue
        device = by_id.get(demand.device)
        if device is None:
            yield (
                (*path, "device"),
                f"there is no device '{demand.device}'",
                did_you_mean(demand.device, by_id),
            )
        elif not demand.whole and not device.mig_capable:
            message = f"'{demand.name}' wants slices of '{device.id}', which is not mig_capable"
            yield (*path, "device"), message, "Ask for it as a whole (`whole: true`), or for another device."
        elif demand.whole and demand.count > 1:
            message = f"'{demand.name}' wants {demand.count} whole devices, and names one"
            yield (*path, "count"), message, "Leave out `device`, or write `count: 1`."


def _target(spec: SiteSpec, demand: GpuDemand, path: Path) -> Iterator[Found]:
    known = targets(spec)
    if demand.for_ not in known:
        if demand.for_.startswith("hpc.") and misnamed(spec):
            return
        message = f"there is no '{demand.for_}' that could take GPUs"
        yield (*path, "for"), message, did_you_mean(demand.for_, known)
    elif not known[demand.for_]:
        message = f"'{demand.for_}' has no node with `gpu_enabled: true` that could take GPUs"
        yield (*path, "for"), message, "Write `gpu_enabled: true` for the nodes that are to have it."


def targets(spec: SiteSpec) -> dict[str, int]:
    """Who may stand in a demand's ``for``, and how many nodes of it take GPUs."""
    groups = spec.clusters.hpc.groups
    found = {"hpc": sum(group.count for group in groups if group.gpu_enabled)}
    found["hpc.compute_nodes"] = found["hpc"]
    for group in groups:
        if group.name is not None:
            key = f"hpc.compute_nodes.{group.name}"
            found[key] = found.get(key, 0) + group.count * group.gpu_enabled
    workers = spec.clusters.cloud.worker_nodes
    found["cloud"] = 0
    if workers is not None:
        for name in ("cpu_workers", "gpu_workers"):
            group_of = getattr(workers, name)
            if group_of is not None:
                found[f"cloud.worker_nodes.{name}"] = group_of.count * group_of.gpu_enabled
                found["cloud"] += group_of.count * group_of.gpu_enabled
        found["cloud.worker_nodes"] = found["cloud"]
    return found


def takers(spec: SiteSpec) -> Iterator[Found]:
    """GPUs are asked for by somebody with `gpu_enabled` nodes, and every group with `gpu_enabled` is given some."""
    asked = _allocation(spec)
    if asked.devices and not any(_given(asked, cluster) for cluster in CLUSTERS):
        yield (
            (*_GPUS, "devices"),
            "GPUs are listed, and nobody asks for any of them",
            "Say who gets them, by `mig_slices`, `whole_gpus` or `demands`.",
        )
        return
    known = targets(spec)
    lost = {demand.for_.partition(".")[0] for demand in asked.demands if demand.for_ not in known}
    for cluster in CLUSTERS:
        groups = list(_gpu_groups(spec, cluster))
        shares = {key: getattr(getattr(asked, key), cluster) for key in SHARES}
        key = next((key for key, count in shares.items() if count), None)
        if key is not None and not groups:
            what = {"mig_slices": "slice", "whole_gpus": "whole device"}[key] + (
                "s" if shares[key] > 1 else ""
            )
            yield (
                (*_GPUS, key, cluster),
                f"{shares[key]} {what} for {cluster}, and none of its nodes is gpu_enabled",
                "Write `gpu_enabled: true` for the nodes that are to have them, or ask for none.",
            )
        for group in groups:
            if (
                key is None
                and cluster not in lost  # whoever was meant there may be this group
                and not group.own
                and not any(group.is_meant(demand.for_) for demand in asked.demands)
            ):
                message = f"the nodes of '{group.label}' are to have GPUs, and get none"
                todo = f"Give `{cluster}` some in global.gpu_allocation, or write `gpu_enabled: false`."
                yield group.path, message, todo
                if not any(_given(asked, other) for other in CLUSTERS):
                    return


def _given(asked: GpuAllocation, cluster: str) -> int:
    """How many slices and devices a cluster is given."""
    demanded = sum(demand.count for demand in asked.demands if demand.for_.partition(".")[0] == cluster)
    return int(getattr(asked.mig_slices, cluster) + getattr(asked.whole_gpus, cluster) + demanded)


@dataclass(frozen=True)
class _GpuGroup:
    """A group whose nodes are to have GPUs; ``own`` tells that it brings simulated ones."""

    path: Path
    label: str
    target: str
    own: bool = False

    def is_meant(self, demand: str) -> bool:
        """Whether something asked for ``demand`` can go to it."""
        return self.target == demand or self.target.startswith(f"{demand}.")


def _gpu_groups(spec: SiteSpec, cluster: str) -> Iterator[_GpuGroup]:
    if cluster == "hpc":
        nodes = spec.clusters.hpc.compute_nodes
        for index, group in enumerate(spec.clusters.hpc.groups):
            if group.gpu_enabled:
                place = (index,) if isinstance(nodes, tuple) else ()
                path: Path = ("clusters", "hpc", "compute_nodes", *place, "gpu_enabled")
                target = "hpc.compute_nodes" + (f".{group.name}" if group.name else "")
                yield _GpuGroup(path, group.name or "compute_nodes", target, bool(group.devices))
        return
    for name in ("cpu_workers", "gpu_workers"):
        workers = getattr(spec.clusters.cloud.worker_nodes, name, None)
        if workers is not None and workers.gpu_enabled:
            path = ("clusters", "cloud", "worker_nodes", name, "gpu_enabled")
            yield _GpuGroup(path, name, f"cloud.worker_nodes.{name}")


def _allocation(spec: SiteSpec) -> GpuAllocation:
    return spec.global_.gpu_allocation or GpuAllocation()
