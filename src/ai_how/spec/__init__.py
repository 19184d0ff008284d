"""``cluster.yaml`` as frozen, versioned types; every value knows the line it came from. Pure: no input or output."""

from ai_how.spec.model import (
    CloudCluster,
    Device,
    HpcCluster,
    NodeGroup,
    Partition,
    SiteSpec,
    SlurmConfig,
)
from ai_how.spec.parse import Position, SiteFile, parse

__all__ = [
    "CloudCluster",
    "Device",
    "HpcCluster",
    "NodeGroup",
    "Partition",
    "Position",
    "SiteFile",
    "SiteSpec",
    "SlurmConfig",
    "parse",
]
