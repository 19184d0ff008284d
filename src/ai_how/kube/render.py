"""Kubernetes' names of GPUs, and the configuration of NVIDIA's device plugin. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from ai_how.gpu.demand import Entry
from ai_how.gpu.model import Device
from ai_how.gpu.render import of_cluster, owner_of

WHOLE = "nvidia.com/gpu"
#: How the device plugin names slices: each profile a resource of its own, or all of them as plain GPUs.
Strategy = Literal["mixed", "single", "none"]


def resource(profile: str | None, strategy: Strategy = "mixed") -> str:
    """The resource that a pod asks for; None is a whole device. A ``+`` may not stand in a name and becomes a dot."""
    if profile is None or strategy != "mixed":
        return WHOLE
    return f"nvidia.com/mig-{profile.replace('+', '.')}"


def strategy_of(entries: Sequence[Entry]) -> Strategy:
    """What a node with these entries can do.

    ``single`` needs every device of the node cut, into slices of one profile; ``none`` is a node with whole devices
    alone. Everything else is ``mixed``, which holds always.
    """
    profiles = {entry.grant.slice.profile if entry.grant.slice else None for entry in entries}
    if profiles <= {None}:
        return "none"
    return "single" if len(profiles) == 1 else "mixed"


def device_plugin(devices: Sequence[Device], entries: Sequence[Entry]) -> str:
    """The device plugin's configuration, both strategies, and the resources that every node of the cloud cluster has.

    The two documents are values for ``config.map`` of its Helm chart; a node chooses one by its label
    ``nvidia.com/device-plugin.config``.
    """
    cloud = of_cluster(entries, "cloud")
    nodes: dict[str, list[Entry]] = {}
    for entry in cloud:
        nodes.setdefault(owner_of(entry), []).append(entry)
    lines = ["# Rendered by ai-how from cluster.yaml: values for the Helm chart of NVIDIA's device plugin."]
    for node, held in nodes.items():
        lines += _node(node, held)
    lines += ["config:", "  default: mixed", "  map:"]
    for name in ("mixed", "single"):
        lines += [f"    {name}: |-", "      version: v1", "      flags:", f"        migStrategy: {name}"]
    return "\n".join(lines) + "\n"


def _node(node: str, entries: Sequence[Entry]) -> list[str]:
    can = strategy_of(entries)
    profiles = [entry.grant.slice.profile if entry.grant.slice else None for entry in entries]
    lines = [f"# {node}"]
    for strategy in ("mixed", "single") if can == "single" else ("mixed",):
        counts = Counter(resource(profile, strategy) for profile in profiles)
        lines += [f"#   {strategy}: {name}: {count}" for name, count in sorted(counts.items())]
    if can == "mixed":
        lines.append("#   single: not possible, it has devices of more than one size")
    return lines
