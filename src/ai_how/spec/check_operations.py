"""Ports, exposure, monitoring and backup. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec.check import Found
from ai_how.spec.load import Path
from ai_how.spec.message import did_you_mean
from ai_how.spec.model import SiteSpec

_SERVICES: Path = ("clusters", "cloud", "services")
_CLUSTERS = ("hpc", "cloud")


def ports(spec: SiteSpec) -> Iterator[Found]:
    """No two services ask for one port."""
    taken: dict[int, str] = {}
    for path, name, port in asked_ports(spec):
        if port in taken:
            yield path, f"port {port} is asked for by {taken[port]} and by {name}", "Give each its own."
        taken.setdefault(port, name)


def asked_ports(spec: SiteSpec) -> Iterator[tuple[Path, str, int]]:
    """Every port that the file asks for: its path, its service and its number."""
    services, watch = spec.clusters.cloud.services, spec.monitoring
    for name in type(services).model_fields:
        if (port := getattr(services, name).port) is not None:
            yield (*_SERVICES, name, "port"), name, port
    for name in ("prometheus", "grafana"):
        if (port := getattr(watch, name).port) is not None:
            yield ("monitoring", name, "port"), name, port


def exposure(spec: SiteSpec) -> Iterator[Found]:
    """What is exposed is enabled, and speaks TLS."""
    services, watch, names = spec.clusters.cloud.services, spec.monitoring, spec.security.expose
    there = {name: getattr(services, name).enabled for name in type(services).model_fields}
    there["prometheus"] = watch.enabled
    there["grafana"] = watch.enabled and watch.grafana.enabled
    for index, name in enumerate(names):
        path = ("security", "expose", index)
        if name in names[:index]:
            yield path, f"'{name}' is listed twice", "Remove one."
        elif not there[name]:
            yield path, f"'{name}' is to be exposed, and is not enabled", "Enable it, or leave it out here."
    if names and not spec.security.tls.enabled:
        yield (
            ("security", "expose"),
            f"{names[0]} is to listen beyond loopback, and without TLS everybody on the way can read along",
            "Write `tls: {enabled: true}`.",
        )


def monitoring(spec: SiteSpec) -> Iterator[Found]:
    """The clusters that are measured exist."""
    names = spec.monitoring.clusters
    for index, name in enumerate(names):
        if name not in _CLUSTERS:
            yield (
                ("monitoring", "clusters", index),
                f"there is no cluster '{name}'",
                did_you_mean(name, _CLUSTERS),
            )
        elif name in names[:index]:
            yield ("monitoring", "clusters", index), f"the cluster '{name}' is listed twice", "Remove one."


def backup(spec: SiteSpec) -> Iterator[Found]:
    """A backup has a place to go to, saves what is enabled, and is kept."""
    asked, services = spec.backup, spec.clusters.cloud.services
    if not asked.enabled:
        return
    if asked.target == "folder" and asked.path is None:
        yield ("backup",), "a backup into a folder needs its path", "Write `path: /where/it/goes`."
    slurm = spec.clusters.hpc.slurm_config
    # Without these mlflow, or the accounts, would be wrong already: that is told by their own checks.
    there = {
        "postgresql": services.postgresql.enabled or services.mlflow.enabled,
        "object_store": services.object_store.enabled or services.mlflow.enabled,
        "accounting": bool(slurm.accounting.enabled or slurm.qos or slurm.accounts),
    }
    if asked.target == "object_store" and not there["object_store"]:
        message = "the backup goes to the object store, and the site has none"
        yield (
            ("backup", "target"),
            message,
            "Write `target: folder`, or enable clusters.cloud.services.object_store.",
        )
    if not (asked.keep.daily or asked.keep.weekly or asked.keep.monthly):
        yield ("backup", "keep"), "no backup is ever kept", "Keep at least one daily, weekly or monthly one."
    for index, name in enumerate(asked.include if "include" in asked.model_fields_set else ()):
        if name in asked.include[:index]:
            yield ("backup", "include", index), f"'{name}' is listed twice", "Remove one."
        elif not there.get(name, True):
            yield (
                ("backup", "include", index),
                f"'{name}' is to be saved, and is not enabled",
                "Leave it out.",
            )
