"""What the file may say, but no provider does yet. Pure: each by its name and its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from ai_how.errors import Problem, SpecError
from ai_how.services import gateway
from ai_how.spec import SiteFile
from ai_how.spec.model import SiteSpec

Path = tuple[str | int, ...]
_HPC: Path = ("clusters", "hpc")
_CLOUD: Path = ("clusters", "cloud")
_SLURM: Path = (*_HPC, "slurm_config")
_TODO = "Leave it out until then; `ai-how explain {}` tells what it means."


def problems(file: SiteFile) -> Iterator[Problem]:
    """Everything that the file asks for in vain, at its place."""
    for path, message in unsupported(file.spec):
        yield file.problem(path, message, _TODO.format(".".join(str(part) for part in path)))


def refusal(found: Sequence[Problem]) -> SpecError:
    """Why ``up`` does not begin: the file is valid, and asks for more than can be brought about on this machine."""
    error = SpecError(found)
    count = f"{len(found)} things" if len(found) > 1 else "one thing"
    error.message = f"{found[0].file} is valid, and asks for {count} that cannot be brought about here"
    error.todo = "Leave these out of the file for now; nothing was changed."
    return error


def unsupported(spec: SiteSpec) -> Iterator[tuple[Path, str]]:
    """Everything that no provider does yet, as (path, message)."""
    yield from _providers(spec)
    yield from _slurm(spec)
    yield from _services(spec)
    yield from _operations(spec)


def _providers(spec: SiteSpec) -> Iterator[tuple[Path, str]]:
    for path, cluster, known in (
        (_HPC, spec.clusters.hpc, ("local", "existing")),
        (_CLOUD, spec.clusters.cloud, ("local",)),
    ):
        if cluster.provider not in known:
            yield (*path, "provider"), f"the provider {cluster.provider} is not there yet"
    why = "nothing mounts it yet"
    if spec.clusters.hpc.provider == "local":
        why = "the provider local mounts nothing; its nodes share this machine's disk"
    for index, storage in enumerate(spec.clusters.hpc.storage):
        yield (*_HPC, "storage", index), f"the storage '{storage.name}': {why}"


def _slurm(spec: SiteSpec) -> Iterator[tuple[Path, str]]:
    slurm = spec.clusters.hpc.slurm_config
    if not slurm.accounting.enabled and spec.clusters.hpc.provider != "existing":
        yield (*_SLURM, "accounting", "enabled"), "a site without accounting: runs are closed by it"


def _services(spec: SiteSpec) -> Iterator[tuple[Path, str]]:
    if not spec.clusters.cloud.services.gateway.enabled:
        yield (
            (*_CLOUD, "services", "gateway", "enabled"),
            "a site without gateway: models are served through it",
        )


def _operations(spec: SiteSpec) -> Iterator[tuple[Path, str]]:
    for service in spec.security.expose:
        if service != gateway.NAME:
            yield (
                ("security", "expose"),
                f"exposing {service}: only the gateway can listen beyond loopback yet",
            )
    for part in ("tls", "audit", "ssh"):
        if part == "tls" and gateway.exposed(spec):
            continue
        why = " while the gateway is not exposed" if part == "tls" else " yet"
        for key in _said(getattr(spec.security, part)):
            yield ("security", part, key), f"security.{part}.{key} has no effect{why}"
    if spec.monitoring.enabled:
        yield ("monitoring", "enabled"), "monitoring is not there yet"
    if spec.backup.enabled:
        yield ("backup", "enabled"), "backups are not there yet"


def _said(part: BaseModel) -> Iterator[str]:
    """Keys that differ from their default: what is as it would be anyway asks for nothing."""
    for key, field in type(part).model_fields.items():
        if key in part.model_fields_set and getattr(part, key) != field.get_default():
            yield key


def notes(spec: SiteSpec) -> Iterator[tuple[Path, str]]:
    """What the provider local takes another way than a provider with machines would, as (path, words)."""
    cloud = spec.clusters.cloud
    if spec.clusters.hpc.provider == "existing" and "slurm_config" in spec.clusters.hpc.model_fields_set:
        yield (
            (*_HPC, "slurm_config"),
            "a cluster that exists is its owner's: its partitions and limits are as they are, and this is left aside",
        )
    if cloud.provider != "local":
        return
    if cloud.kubernetes_config is not None or cloud.control_plane is not None:
        yield (
            (*_CLOUD, "control_plane" if cloud.control_plane else "kubernetes_config"),
            "the provider local has no Kubernetes: the services are processes, and the GPU workers are Slurm's "
            "nodes in the partition 'cloud'",
        )
    if spec.clusters.hpc.provider == "local" and _addressed(spec):
        yield (
            (*_HPC, "compute_nodes"),
            "the provider local's nodes are processes on 127.0.0.1: networks and addresses wait for machines",
        )


def _addressed(spec: SiteSpec) -> bool:
    return any(group.ip_range is not None for group in spec.clusters.hpc.groups)
