"""Every check of a whole file that needs to know nothing but the file."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec import (
    check_accounts,
    check_cloud,
    check_existing,
    check_gpus,
    check_network,
    check_operations,
    check_serving,
    check_slurm,
)
from ai_how.spec.check import Check, Found
from ai_how.spec.model import SiteSpec

_HPC = "clusters.hpc"
_CLOUD = "clusters.cloud"
_SLURM = "clusters.hpc.slurm_config"
_GPUS = "global.gpu_allocation"
_NETWORKS = "global.networks"
_PLANE = "clusters.cloud.control_plane"
_WORKERS = "clusters.cloud.worker_nodes"
_KUBERNETES = "clusters.cloud.kubernetes_config"
_SERVICES = "clusters.cloud.services"
_MODELS = "serving.models"


def _each(place: str, *keys: str) -> tuple[str, ...]:
    return tuple(f"{place}.{key}" for key in keys)


def _groups(*keys: str) -> tuple[str, ...]:
    """Keys of the node groups, be it one mapping or a list of them."""
    return (*_each(f"{_HPC}.compute_nodes", *keys), *_each(f"{_HPC}.compute_nodes.*", *keys))


_ADDRESSES = (
    f"{_HPC}.controller.ip_address",
    *_groups("ip_range"),
    *_each(_PLANE, "ip_address", "ip_range", "virtual_ip"),
    f"{_WORKERS}.*.ip_range",
)
_TAKING = (*_groups("gpu_enabled", "devices"), f"{_WORKERS}.*.gpu_enabled")
_SHARES = _each(_GPUS, "mig_slices", "whole_gpus")

#: What is missing altogether: where one of these finds something, the others that read it are left out.
FIRST = (Check(check_slurm.there, _each(_HPC, "compute_nodes", "provider")),)

CHECKS = (
    Check(check_existing.options, tuple(f"{side}.existing.jobs.options" for side in (_HPC, _CLOUD))),
    Check(
        check_existing.environments, tuple(f"{side}.existing.environments.*.name" for side in (_HPC, _CLOUD))
    ),
    Check(check_existing.hosts, tuple(f"{side}.existing" for side in (_HPC, _CLOUD))),
    Check(check_slurm.groups, _groups("name", "count")),
    Check(check_slurm.partitions, _each(_SLURM, "partitions.*.name", "default_partition")),
    Check(
        check_slurm.taken,
        (
            *_groups("name"),
            f"{_SLURM}.partitions.*.name",
            f"{_WORKERS}.gpu_workers.gpu_enabled",
            f"{_CLOUD}.provider",
        ),
    ),
    Check(
        check_slurm.spans,
        (*_each(f"{_SLURM}.partitions.*", "nodes", "groups"), *_groups("name", "count")),
    ),
    Check(
        check_slurm.times,
        (
            *_each(f"{_SLURM}.partitions.*", "max_time", "default_time"),
            *_each(_SLURM, "max_job_time", "default_job_time"),
        ),
    ),
    Check(check_slurm.storage, _each(f"{_HPC}.storage.*", "name", "path")),
    Check(
        check_accounts.qos,
        _each(_SLURM, "qos.*.name", "qos.*.preempt", "accounts.*.qos", "partitions.*.qos"),
    ),
    Check(check_accounts.accounts, _each(f"{_SLURM}.accounts.*", "name", "parent")),
    Check(check_accounts.accounting, _each(_SLURM, "accounting.enabled", "qos", "accounts")),
    Check(
        check_accounts.preemption,
        _each(
            _SLURM,
            "preemption.type",
            "qos.*.name",
            "qos.*.preempt",
            "accounts.*.qos",
            "partitions.*.qos",
            "partitions.*.priority",
            "partitions.*.preempt_mode",
            "partitions.*.grace_time",
            "qos.*.grace_time",
            "preemption.mode",
        ),
    ),
    Check(check_network.networks, (_NETWORKS,)),
    Check(check_network.ranges, (*_ADDRESSES, *_groups("count"), f"{_PLANE}.count", f"{_WORKERS}.*.count")),
    Check(check_network.addresses, (_NETWORKS, *_ADDRESSES)),
    Check(
        check_network.pods,
        (f"{_NETWORKS}.*.subnet", *_each(_KUBERNETES, "pod_subnet", "service_subnet")),
    ),
    Check(check_gpus.devices, _each(f"{_GPUS}.devices.*", "id", "pci_address")),
    Check(check_gpus.profiles, _each(f"{_GPUS}.devices.*", "mig_capable", "allowed_mig_profiles")),
    Check(
        check_gpus.strategy,
        (
            *_each(_GPUS, "strategy", "devices.*.mig_capable"),
            *_SHARES,
            *_each(f"{_GPUS}.demands.*", "whole", "count", "device"),
        ),
    ),
    Check(
        check_gpus.demands,
        (
            *_each(f"{_GPUS}.demands.*", "name", "for", "whole", "count", "device"),
            *_each(f"{_GPUS}.devices.*", "id", "mig_capable"),
            *_SHARES,
            *_groups("name", "gpu_enabled"),
            f"{_WORKERS}.*.gpu_enabled",
        ),
    ),
    Check(check_gpus.takers, (f"{_GPUS}.devices", f"{_GPUS}.demands.*.for", *_SHARES, *_TAKING)),
    Check(check_cloud.control_plane, (_PLANE,)),
    Check(check_cloud.kubernetes, (f"{_CLOUD}.provider", _PLANE, _WORKERS, _KUBERNETES)),
    Check(
        check_cloud.providers,
        tuple(f"{side}.{key}" for side in (_HPC, _CLOUD) for key in ("provider", "libvirt", "existing")),
    ),
    Check(check_cloud.services, (f"{_SERVICES}.*.enabled",)),
    Check(check_operations.ports, (f"{_SERVICES}.*.port", "monitoring.*.port")),
    Check(
        check_operations.exposure,
        (
            "security.expose",
            "security.tls.enabled",
            f"{_SERVICES}.*.enabled",
            "monitoring.enabled",
            "monitoring.*.enabled",
        ),
    ),
    Check(
        check_serving.models,
        _each(f"{_MODELS}.*", "name", "source", "replicas", "idle", "canary.source"),
    ),
    Check(check_serving.gateway, (_MODELS, f"{_SERVICES}.gateway.enabled")),
    Check(
        check_serving.places,
        (
            f"{_MODELS}.*.resources",
            *_each(
                _SLURM, "partitions", "default_partition", "max_job_time", "accounts.*.name", "qos.*.name"
            ),
            *_groups("name", "count", "cpu_cores", "memory_gb"),
        ),
    ),
    Check(check_operations.monitoring, ("monitoring.clusters",)),
    Check(
        check_operations.backup,
        ("backup", f"{_SERVICES}.*.enabled", *_each(_SLURM, "accounting.enabled", "qos", "accounts")),
    ),
)


def cross_check(spec: SiteSpec) -> Iterator[Found]:
    """Every contradiction in a file whose values are all right by themselves."""
    for check in (*FIRST, *CHECKS):
        yield from check(spec)
