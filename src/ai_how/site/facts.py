"""What a job may know of its site, and what the fit of a model goes by: the file's nodes, or those that Slurm tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ai_how.services.nodes import nodes_of, partitions_of
from ai_how.site.control import Site
from ai_how.slurm.facts import ClusterFacts
from ai_how.slurm.parse import expand
from ai_how.spec import walltime

#: The type of a GPU where neither Slurm nor the file tells one.
ANY_GPU = "gpu"


def facts(site: Site) -> Mapping[str, Any]:
    """Nodes, devices, partitions, services. No secrets."""
    found = _there(site.reach.slurm.discover(), _untyped(site)) if site.reach else _own(site)
    ports = site.setting().ports
    services = ("gateway", "mlflow", "postgresql", "object-store")
    return {
        "site": site.file.spec.name,
        **found,
        "services": [{"name": name, "port": ports[name]} for name in services if name in ports],
    }


def _untyped(site: Site) -> str:
    existing = site.file.spec.clusters.hpc.existing
    return (existing.jobs.gpu if existing else None) or ANY_GPU


def _own(site: Site) -> Mapping[str, Any]:
    partitions = list(partitions_of(site.file.spec))
    return {
        "partitions": [
            {
                "name": part.name,
                "nodes": list(part.nodes),
                "default": part.default,
                "time_limit": walltime.render(walltime.seconds(part.max_time)),
            }
            for part in partitions
        ],
        "nodes": [
            {
                "name": node.name,
                "cpus": node.cpus,
                "memory_gb": node.memory_gb,
                "devices": _devices(node.devices),
                "partitions": [part.name for part in partitions if node.name in part.nodes],
            }
            for node in nodes_of(site.file.spec, site.gpus)
        ],
    }


def _there(found: ClusterFacts, untyped: str) -> Mapping[str, Any]:
    spans = {part.name: tuple(_names(found, part.name)) for part in found.partitions}
    nodes = {
        name: {
            "name": name,
            "cpus": kind.cpus,
            "memory_gb": kind.memory_mb // 1024,
            "devices": _devices({kind_ or untyped: count for kind_, count in kind.gpus.items()}),
            "partitions": [part for part, names in spans.items() if name in names],
        }
        for kind in found.kinds
        for name in expand(kind.names)
    }
    return {
        "partitions": [
            {
                "name": part.name,
                "nodes": list(spans[part.name]),
                "default": part.default,
                "time_limit": part.max_time,
            }
            for part in found.partitions
        ],
        "nodes": list(nodes.values()),
    }


def _names(found: ClusterFacts, partition: str) -> Iterator[str]:
    for kind in found.kinds:
        if kind.partition == partition:
            yield from expand(kind.names)


def _devices(devices: Mapping[str, int]) -> list[dict[str, object]]:
    return [{"type": kind, "count": count} for kind, count in devices.items()]
