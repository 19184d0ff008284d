"""Providers, Kubernetes and the services. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec.check import Found
from ai_how.spec.load import Path
from ai_how.spec.message import did_you_mean
from ai_how.spec.model import SiteSpec

_CLOUD: Path = ("clusters", "cloud")
#: The storage class that Kubernetes is always given.
LOCAL_PATH = "local-path"


def providers(spec: SiteSpec) -> Iterator[Found]:
    """A provider's settings stand beside that provider only, and `existing` says where the cluster is."""
    for name in ("hpc", "cloud"):
        cluster = getattr(spec.clusters, name)
        path: Path = ("clusters", name)
        for other in ("libvirt", "existing"):
            if getattr(cluster, other) is not None and cluster.provider != other:
                yield (
                    (*path, other),
                    f"settings of the provider {other}, and the provider is {cluster.provider}",
                    f"Write `provider: {other}`, or remove them.",
                )
        if cluster.provider == "existing" and cluster.existing is None:
            yield (
                (*path, "provider"),
                "the provider is existing, and nothing says where the cluster is",
                "Write `existing: {host: NAME}` beside it; localhost for a cluster that is reached from here.",
            )


def control_plane(spec: SiteSpec) -> Iterator[Found]:
    """The control plane has 1, 3 or 5 machines; high availability needs 3 at least, and a virtual_ip."""
    plane = spec.clusters.cloud.control_plane
    if plane is None:
        return
    path = (*_CLOUD, "control_plane")
    if plane.count not in (1, 3, 5):
        message = f"a control plane has 1, 3 or 5 machines, not {plane.count}: it decides by majority"
        yield (*path, "count"), message, f"Write {min(plane.count | 1, 5)}."
        return
    if plane.high_availability and plane.count < 3:
        message = f"high availability needs 3 or 5 machines, and the control plane has {plane.count}"
        yield (*path, "high_availability"), message, "Write `count: 3`, or `high_availability: false`."
    elif plane.high_availability and plane.virtual_ip is None:
        message = "high availability needs a virtual_ip, which moves to a machine that is well"
        yield (
            (*path, "high_availability"),
            message,
            "Write `virtual_ip:` with a free address of cloud_network.",
        )
    elif plane.count > 1 and not plane.high_availability:
        message = f"{plane.count} machines without high availability"
        yield (*path, "count"), message, "Write `high_availability: true` and a virtual_ip, or `count: 1`."
    if plane.virtual_ip is not None and plane.count == 1 and not plane.high_availability:
        message = "a virtual_ip has no use without high availability"
        yield (*path, "virtual_ip"), message, "Write `high_availability: true`, or remove it."
    if plane.ip_address is not None and (plane.count > 1 or plane.ip_range is not None):
        message = "ip_address is for one machine, ip_range for several"
        yield (*path, "ip_address"), message, "Keep one of the two."


def kubernetes(spec: SiteSpec) -> Iterator[Found]:
    """Workers and settings of Kubernetes stand beside a control plane; its storage class exists, its policy is kept."""
    cloud = spec.clusters.cloud
    if cloud.control_plane is None and cloud.provider != "existing":
        for key in ("worker_nodes", "kubernetes_config"):
            if getattr(cloud, key) is not None:
                yield (*_CLOUD, key), f"{key} without a control_plane: there is no Kubernetes", (
                    "Write `control_plane:` beside it, or remove it."
                )  # fmt: skip
                return
    config = cloud.kubernetes_config
    if config is None:
        return
    path = (*_CLOUD, "kubernetes_config")
    names = [one.name for one in config.storage_classes]
    for index, one in enumerate(config.storage_classes):
        if one.name in names[:index]:
            yield (*path, "storage_classes", index, "name"), f"two storage classes are called '{one.name}'", (
                "Give each its own name."
            )  # fmt: skip
        if one.provisioner == "nfs" and (one.server is None or one.path is None):
            message = f"storage class '{one.name}' is on NFS, and its server or path is missing"
            yield (*path, "storage_classes", index), message, "Write `server:` and `path:`."
    known = list(dict.fromkeys([LOCAL_PATH, *names]))
    if config.storage_class not in known:
        message = f"there is no storage class '{config.storage_class}'"
        yield (*path, "storage_class"), message, did_you_mean(config.storage_class, known)
    if config.network_policy != "none" and config.cni == "flannel":
        message = "flannel enforces no network policies"
        yield (
            (*path, "network_policy"),
            message,
            "Write `cni: calico` or `cni: cilium`, or `network_policy: none`.",
        )


def services(spec: SiteSpec) -> Iterator[Found]:
    """What a service needs is enabled with it: mlflow needs postgresql and object_store."""
    found = spec.clusters.cloud.services
    for needed, why in (
        ("postgresql", "keeps its runs there"),
        ("object_store", "keeps its artifacts there"),
    ):
        if found.mlflow.enabled and not getattr(found, needed).enabled:
            yield (
                (*_CLOUD, "services", needed, "enabled"),
                f"{needed} is not enabled, and mlflow {why}",
                "Write `enabled: true`, or `mlflow: {enabled: false}`.",
            )
