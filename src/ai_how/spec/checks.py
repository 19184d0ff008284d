"""Every check of a whole file that needs to know nothing but the file."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec import check_accounts, check_cloud, check_gpus, check_network, check_operations, check_slurm
from ai_how.spec.check import Check, Found
from ai_how.spec.model import SiteSpec

_HPC = "clusters.hpc"
_CLOUD = "clusters.cloud"
_SLURM = "clusters.hpc.slurm_config"
_NODES = "clusters.hpc.compute_nodes"
_GPUS = "global.gpu_allocation"
_WORKERS = "clusters.cloud.worker_nodes"
_SERVICES = "clusters.cloud.services"
_ADDRESSES = (
    "global.networks", "clusters.hpc.controller", _NODES, "clusters.cloud.control_plane", _WORKERS,
)  # fmt: skip

CHECKS = (
    Check(check_slurm.groups, (_NODES,)),
    Check(check_slurm.partitions, (f"{_SLURM}.partitions", f"{_SLURM}.default_partition", _NODES)),
    Check(
        check_slurm.times,
        (f"{_SLURM}.partitions", f"{_SLURM}.max_job_time", f"{_SLURM}.default_job_time"),
    ),
    Check(check_slurm.storage, (f"{_HPC}.storage",)),
    Check(check_accounts.qos, (f"{_SLURM}.qos", f"{_SLURM}.accounts", f"{_SLURM}.partitions")),
    Check(check_accounts.accounts, (f"{_SLURM}.accounts",)),
    Check(check_accounts.accounting, (f"{_SLURM}.accounting", f"{_SLURM}.qos", f"{_SLURM}.accounts")),
    Check(
        check_accounts.preemption,
        (f"{_SLURM}.preemption", f"{_SLURM}.qos", f"{_SLURM}.partitions"),
    ),
    Check(check_network.networks, ("global.networks",)),
    Check(check_network.addresses, _ADDRESSES),
    Check(check_network.pods, ("global.networks", f"{_CLOUD}.kubernetes_config")),
    Check(check_gpus.devices, (f"{_GPUS}.devices",)),
    Check(check_gpus.strategy, (_GPUS,)),
    Check(check_gpus.demands, (_GPUS, _NODES, _WORKERS)),
    Check(check_gpus.takers, (_GPUS, _NODES, _WORKERS)),
    Check(check_cloud.control_plane, (_CLOUD + ".control_plane",)),
    Check(
        check_cloud.kubernetes,
        (f"{_CLOUD}.control_plane", _WORKERS, f"{_CLOUD}.kubernetes_config"),
    ),
    Check(
        check_cloud.providers,
        tuple(
            f"{cluster}.{key}" for cluster in (_HPC, _CLOUD) for key in ("provider", "libvirt", "existing")
        ),
    ),
    Check(check_cloud.services, (_SERVICES,)),
    Check(check_operations.ports, (_SERVICES, "monitoring")),
    Check(check_operations.exposure, ("security", _SERVICES, "monitoring")),
    Check(check_operations.monitoring, ("monitoring",)),
    Check(check_operations.backup, ("backup", _SERVICES, f"{_SLURM}.accounting")),
)


def cross_check(spec: SiteSpec) -> Iterator[Found]:
    """Every contradiction in a file whose values are all right by themselves."""
    for check in CHECKS:
        yield from check(spec)
