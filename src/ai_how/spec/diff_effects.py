"""What ``ai-how up`` would do about a difference between two files. Pure.

The table is kept true by a test that compares it with the definitions of the services, which is what ``up`` goes by.
Restarting a daemon of Slurm ends no job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    ANOTHER = "another site"
    REFUSED = "refused"


@dataclass(frozen=True)
class Consequence:
    """What ``up`` does, in words.

    ``services`` are those that it restarts; ``slurmd`` stands for that of some nodes or of all. Where it is not
    ``certain``, it depends on how the GPUs are placed, and there may be nothing to do.
    """

    effect: Effect
    what: str
    services: tuple[str, ...] = ()
    certain: bool = True

    def as_json(self) -> dict[str, object]:
        return {"effect": self.effect, "up": self.what, "services": self.services, "certain": self.certain}


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


def _in_accounting(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    """QOS and accounts: which of them there are is told to slurmdbd, what a QOS limits to slurmctld."""
    path = key_path(change.path)
    if change.kind is Kind.MOVED and not change.former:
        told = ("slurmdbd", "slurmctld") if path == _QOS else ("slurmdbd",)
        return replace(_restart(*told, more=" where they are told so in another order"), certain=False)
    listed = change.kind in (Kind.ADDED, Kind.REMOVED, Kind.RENAMED) and path in (_QOS, _ACCOUNTS)
    services = []
    if path[: len(_ACCOUNTS)] == _ACCOUNTS or listed:
        services.append("slurmdbd")
    if path[: len(_QOS)] == _QOS or _enforced(old) != _enforced(new):
        services.append("slurmctld")
    gone = listed and change.kind is not Kind.ADDED
    more = "; what the file has no more stays in Slurm's database until `sacctmgr delete`" if gone else ""
    return _restart(*services, more=more)


def _enforced(spec: SiteSpec) -> bool:
    """Whether Slurm asks who may do what."""
    slurm = spec.clusters.hpc.slurm_config
    return bool(slurm.qos or slurm.accounts)


def _preemption(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    kinds = {spec.clusters.hpc.slurm_config.preemption.type for spec in (old, new)}
    return _nothing("no job makes room for another") if kinds == {"none"} else _SLURM


def _existing(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    """Where a cluster that exists is, and how its jobs are submitted: those who use it read that anew."""
    if new.clusters.hpc.provider != "existing":
        return _UNUSED
    told = ("cluster", "reconciler", "tracker")
    if key_path(change.path)[-1] in ("host", "user", "folder"):
        what = "makes the site's folder there, and leaves the former one; restarts reconciler and tracker"
        return Consequence(Effect.RESTART, what, told)
    return Consequence(
        Effect.RESTART, "restarts reconciler and tracker; jobs submitted from then on go by it", told
    )


def _enabled(change: Change, old: SiteSpec, new: SiteSpec) -> Consequence:
    """A service that comes or goes. Only MLflow is known to another one."""
    key = key_path(change.path)[-2]
    name, also = key.replace("_", "-"), ("tracker",) if key == "mlflow" else ()
    more = "; restarts tracker" if also else ""
    if getattr(new.clusters.cloud.services, key).enabled:
        return Consequence(Effect.ADD, f"adds {name}{more}", also)
    return Consequence(Effect.DRAIN, f"stops {name}, whose data stay{more}", also)


_QOS = ("clusters", "hpc", "slurm_config", "qos")
_ACCOUNTS = ("clusters", "hpc", "slurm_config", "accounts")
_SLURM = _restart("slurmctld", more="; the nodes read slurm.conf again")
_SHAPE = _restart("slurmctld", "slurmd", more=" of these nodes; their jobs go on")
_DEVICES = Consequence(
    Effect.RESTART,
    "places the GPUs anew; restarts slurmctld, and slurmd of the nodes whose part of them changes",
    ("slurmctld", "slurmd"),
    certain=False,
)
_RECREATE = Consequence(
    Effect.RECREATE,
    "cannot take machines from one provider to another: `ai-how destroy` with the old file comes first",
)
_NOT_WITHOUT = Consequence(Effect.REFUSED, "refuses it: no site is without it yet")
_TOLD = _nothing("no daemon restarts; the reconciler is told, and replaces replicas one by one where it must")
_UNUSED = _nothing("the provider local has no use for it")

#: What to do by the path of a key; the longest that fits counts.
RULES: Mapping[str, Rule] = {
    "version": _nothing("it says how the file is read"),
    "metadata.name": Consequence(
        Effect.ANOTHER,
        "brings up another site; the old one stays as it is until `ai-how destroy` with the old file",
    ),
    "metadata.description": _nothing("it is for people"),
    "global.telemetry": _restart("object-store", "mlflow"),
    "global.networks": _UNUSED,
    "global.gpu_allocation": _DEVICES,
    "global.gpu_allocation.devices.pci_address": _nothing("the devices are simulated"),
    "clusters.hpc.provider": _RECREATE,
    "clusters.hpc.libvirt": _UNUSED,
    "clusters.hpc.existing": _existing,
    "clusters.hpc.controller": _nothing("an emulated controller is not confined to it"),
    "clusters.hpc.compute_nodes": _nodes,
    "clusters.hpc.compute_nodes.cpu_cores": _SHAPE,
    "clusters.hpc.compute_nodes.memory_gb": _SHAPE,
    "clusters.hpc.compute_nodes.devices": _SHAPE,
    "clusters.hpc.compute_nodes.gpu_enabled": _DEVICES,
    "clusters.hpc.compute_nodes.disk_gb": _UNUSED,
    "clusters.hpc.compute_nodes.ip_range": _UNUSED,
    "clusters.hpc.storage": Consequence(Effect.REFUSED, "refuses it: the provider local mounts nothing"),
    "clusters.hpc.slurm_config": _SLURM,
    "clusters.hpc.slurm_config.qos": _in_accounting,
    "clusters.hpc.slurm_config.accounts": _in_accounting,
    "clusters.hpc.slurm_config.accounting": _restart("slurmdbd"),
    "clusters.hpc.slurm_config.accounting.enabled": _NOT_WITHOUT,
    "clusters.hpc.slurm_config.preemption": _preemption,
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
    "clusters.cloud.services.postgresql.enabled": _enabled,
    "clusters.cloud.services.object_store": _restart("object-store", "mlflow"),
    "clusters.cloud.services.object_store.enabled": _enabled,
    "clusters.cloud.services.mlflow": _restart("mlflow", "tracker"),
    "clusters.cloud.services.mlflow.enabled": _enabled,
    "clusters.cloud.services.gateway": _restart("gateway"),
    "clusters.cloud.services.gateway.enabled": _NOT_WITHOUT,
    "serving": _TOLD,
    "security": _nothing("nothing acts on it yet"),
    "security.expose": _restart("gateway"),
    "security.tls.names": _nothing("the gateway takes up a new certificate without a restart"),
    "security.tls.certificate_days": _nothing("the gateway takes up a new certificate without a restart"),
    "monitoring": _nothing("nothing acts on it yet"),
    "backup": _nothing("nothing acts on it yet"),
}
