"""The types of ``cluster.yaml``, version 1.0: the whole file. Its parts are beside this module, by meaning."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field

from ai_how.spec.cloud import CloudCluster, CloudServices, KubernetesConfig, StorageClass
from ai_how.spec.gpus import AtLeast, GpuAllocation, GpuDemand, GpuDevice, Shares
from ai_how.spec.hpc import Account, HpcCluster, Partition, Qos, SlurmConfig, Storage
from ai_how.spec.networks import Network, Networks
from ai_how.spec.nodes import Controller, ControlPlane, Device, NodeGroup, WorkerGroup, WorkerNodes
from ai_how.spec.operations import Backup, Monitoring, Security
from ai_how.spec.provider import Existing, Libvirt, Provider
from ai_how.spec.serving import ServedModel, Serving
from ai_how.spec.values import NAME, Frozen, Name, Port, Time

__all__ = [
    "NAME", "Account", "AtLeast", "Backup", "CloudCluster", "CloudServices", "Clusters", "ControlPlane", "Controller",
    "Device", "Existing", "Frozen", "Global", "GpuAllocation", "GpuDemand", "GpuDevice", "HpcCluster",
    "KubernetesConfig", "Libvirt", "Metadata", "Monitoring", "Name", "Network", "Networks", "NodeGroup", "Partition",
    "Port", "Provider", "Qos", "Security", "ServedModel", "Serving", "Shares", "SiteSpec", "SlurmConfig", "Storage",
    "StorageClass", "Time", "WorkerGroup", "WorkerNodes",
]  # fmt: skip


class Metadata(Frozen):
    name: Name = Field(description="Names the site and its folder.")
    description: str = Field("", description="One line about the site.")


class Global(Frozen):
    telemetry: bool = Field(
        False, description="Let the components report home. Off: every component's telemetry is switched off."
    )
    networks: Networks = Field(default_factory=Networks, description="The networks of the clusters.")
    gpu_allocation: GpuAllocation | None = Field(
        None, description="The GPUs of this machine, and how much of them each cluster gets."
    )


class Clusters(Frozen):
    hpc: HpcCluster = Field(description="The Slurm side.")
    cloud: CloudCluster = Field(default_factory=CloudCluster, description="The side of the services.")


class SiteSpec(Frozen):
    version: Literal["1.0"] = Field(description="Version of this file's shape, in quotes.")
    metadata: Metadata = Field(description="Name and description.")
    global_: Global = Field(
        default_factory=Global, alias="global", description="What concerns both clusters."
    )
    clusters: Clusters = Field(description="The two sides of the site.")
    serving: Serving = Field(default_factory=Serving, description="The models that are served.")
    security: Security = Field(default_factory=Security, description="Certificates, tokens, audit, SSH.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Measurements and alerts.")
    backup: Backup = Field(default_factory=Backup, description="Saving the site's data.")

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def node_names(self) -> tuple[str, ...]:
        """Every compute node of the Slurm side, group after group."""
        return self.clusters.hpc.node_names

    @cached_property
    def _groups(self) -> dict[str, NodeGroup]:
        return {name: group for group in self.clusters.hpc.groups for name in group.node_names}

    def group_of(self, node: str) -> NodeGroup:
        """The group that a compute node belongs to. Raises :class:`KeyError`."""
        return self._groups[node]
