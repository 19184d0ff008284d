"""What ``ai-how up`` would do about a difference between two files. Pure.

The table is kept true by a test that compares it with the definitions of the services, which is what ``up`` goes by.
Restarting a daemon of Slurm ends no job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ai_how.spec.diff import Change, Kind
from ai_how.spec.keys import key_path
from ai_how.spec.model import SiteSpec


class Effect(StrEnum):
    """The gravest thing that ``up`` would do."""

    NOTHING = "nothing"
    RESTART = "restart"
    ADD = "add"
    DRAIN = "drain"
    RECREATE = "recreate"


@dataclass(frozen=True)
class Consequence:
    """What ``up`` does, in words. ``services`` are those that it restarts; ``slurmd`` stands for some nodes' or all."""

    effect: Effect
    what: str
    services: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {"effect": self.effect, "up": self.what, "services": self.services}


Rule = Consequence | Callable[[Change, SiteSpec, SiteSpec], Consequence]


def consequence(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    """What ``up`` with the new file would do about the change, on a site that is as the old one asks."""
    rule = rule_of(key_path(change.path))
    return rule(change, old, new) if callable(rule) else rule


def rule_of(path: tuple[str, ...]) -> Rule:
    """The rule for a key, or for the nearest key around it that has one."""
    while path and ".".join(path) not in RULES:
        path = path[:-1]
    return RULES[".".join(path)]


def _nothing(what: str) -> Consequence:
    return Consequence(Effect.NOTHING, f"does nothing: {what}")


def _restart(*services: str, more: str = "") -> Consequence:
    names = ", ".join(services[:-1]) + f" and {services[-1]}" if len(services) > 1 else services[0]
    return Consequence(Effect.RESTART, f"restarts {names}{more}", services)


def _nodes(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    """Nodes come or go; a group that got another name does both."""
    before, after = set(old.node_names), set(new.node_names)
    gone, come = sorted(before - after), sorted(after - before)
    words = [f"drains {_short(gone)}, waits for their jobs and removes them"] if gone else []
    words += [f"adds {_short(come)}"] if come else []
    if not words:
        return _SLURM
    effect = Effect.DRAIN if gone else Effect.ADD
    return Consequence(effect, f"{' and '.join(words)}; restarts slurmctld", ("slurmctld",))


def _short(names: list[str]) -> str:
    return f"{names[0]} to {names[-1]}" if len(names) > 2 else " and ".join(names)


def _workers(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    before, after = (_gpu_workers(spec) for spec in (old, new))
    if after == before:
        return _DEVICES
    effect, verb = (Effect.ADD, "adds") if after > before else (Effect.DRAIN, "drains and removes")
    count = abs(after - before)
    what = f"{verb} {count} GPU node{'s' if count > 1 else ''} of the cloud side; restarts slurmctld"
    return Consequence(effect, what, ("slurmctld",))


def _gpu_workers(spec: SiteSpec) -> int:
    workers = spec.clusters.cloud.worker_nodes
    group = workers.gpu_workers if workers else None
    return group.count if group and group.gpu_enabled else 0


def _list_in_accounting(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    if change.kind in (Kind.REMOVED, Kind.RENAMED):
        more = "; what has gone from the file stays in Slurm's database (`sacctmgr delete`)"
        return _restart("slurmdbd", "slurmctld", more=more)
    return _restart("slurmdbd", "slurmctld")


_SLURM = _restart("slurmctld", more="; the nodes read slurm.conf again")
_SHAPE = _restart("slurmctld", "slurmd", more=" of these nodes; their jobs go on")
_DEVICES = _restart("slurmctld", "slurmd", more=" of the nodes whose devices change; their jobs go on")
_RECREATE = Consequence(
    Effect.RECREATE,
    "cannot take machines from one provider to another: `ai-how destroy` with the old file comes first",
)
_UNUSED = _nothing("the provider local has no use for it")

#: What to do by the path of a key; the longest that fits counts.
RULES: Mapping[str, Rule] = {
    "version": _nothing("it says how the file is read"),
    "metadata.name": Consequence(
        Effect.ADD,
        "brings up another site; the old one stays as it is until `ai-how destroy` with the old file",
    ),
    "metadata.description": _nothing("it is for people"),
    "global.telemetry": _restart("object-store", "mlflow"),
    "global.networks": _UNUSED,
    "global.gpu_allocation": _DEVICES,
    "global.gpu_allocation.devices.pci_address": _nothing("the devices are simulated"),
    "clusters.hpc.provider": _RECREATE,
    "clusters.hpc.libvirt": _UNUSED,
    "clusters.hpc.existing": _UNUSED,
    "clusters.hpc.controller": _nothing("an emulated controller is not confined to it"),
    "clusters.hpc.compute_nodes": _nodes,
    "clusters.hpc.compute_nodes.cpu_cores": _SHAPE,
    "clusters.hpc.compute_nodes.memory_gb": _SHAPE,
    "clusters.hpc.compute_nodes.devices": _SHAPE,
    "clusters.hpc.compute_nodes.gpu_enabled": _DEVICES,
    "clusters.hpc.compute_nodes.disk_gb": _UNUSED,
    "clusters.hpc.compute_nodes.ip_range": _UNUSED,
    "clusters.hpc.storage": _UNUSED,
    "clusters.hpc.slurm_config": _SLURM,
    "clusters.hpc.slurm_config.qos": _list_in_accounting,
    "clusters.hpc.slurm_config.accounts": _list_in_accounting,
    "clusters.hpc.slurm_config.accounting": _restart("slurmdbd"),
    "clusters.cloud.provider": _RECREATE,
    "clusters.cloud.libvirt": _UNUSED,
    "clusters.cloud.existing": _UNUSED,
    "clusters.cloud.control_plane": _UNUSED,
    "clusters.cloud.worker_nodes": _workers,
    "clusters.cloud.worker_nodes.cpu_workers": _UNUSED,
    "clusters.cloud.worker_nodes.gpu_workers.cpu_cores": _SHAPE,
    "clusters.cloud.worker_nodes.gpu_workers.memory_gb": _SHAPE,
    "clusters.cloud.worker_nodes.gpu_workers.disk_gb": _UNUSED,
    "clusters.cloud.worker_nodes.gpu_workers.ip_range": _UNUSED,
    "clusters.cloud.kubernetes_config": _UNUSED,
    "clusters.cloud.services.postgresql": _restart("postgresql", "mlflow"),
    "clusters.cloud.services.object_store": _restart("object-store", "mlflow"),
    "clusters.cloud.services.mlflow": _restart("mlflow", "tracker"),
    "clusters.cloud.services.gateway": _restart("gateway"),
    "security": _nothing("nothing acts on it yet"),
    "monitoring": _nothing("nothing acts on it yet"),
    "backup": _nothing("nothing acts on it yet"),
}
