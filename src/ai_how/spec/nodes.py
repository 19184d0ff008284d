"""Machines and groups of machines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ai_how.spec.values import Address, AddressRange, Frozen, Name, Shape

Cores = Annotated[int, Field(ge=1, le=1024)]
Gib = Annotated[int, Field(ge=1, le=1_000_000)]


class Device(Frozen):
    model: Annotated[
        str, Shape(r"[a-z0-9][a-z0-9_.]*", "type of a GRES: small letters, digits, '_' and '.'")
    ] = Field(description="Type of the GPU as Slurm's GRES names it, such as a100.")
    count: int = Field(1, ge=1, le=16, description="How many of them each node has.")


class Controller(Frozen):
    cpu_cores: Cores = Field(1, description="CPUs set aside for the Slurm controller.")
    memory_gb: Gib = Field(1, description="Memory set aside for the Slurm controller, in GiB.")
    disk_gb: Gib | None = Field(None, description="Disk of the controller, in GiB, where it has its own.")
    ip_address: Address | None = Field(None, description="Its address in hpc_network.")


class NodeGroup(Frozen):
    name: Name | None = Field(
        None, description="Names the group and its nodes (NAME01 and so on); needed where there are several."
    )
    count: int = Field(ge=1, le=1000, description="How many nodes; without a name they are node01 and so on.")
    cpu_cores: Cores = Field(description="CPUs of each node.")
    memory_gb: Gib = Field(description="Memory of each node, in GiB.")
    disk_gb: Gib | None = Field(None, description="Disk of each node, in GiB, where it has its own.")
    gpu_enabled: bool = Field(False, description="Whether its nodes take part in global.gpu_allocation.")
    ip_range: AddressRange | None = Field(
        None, description="Addresses of its nodes, one each: 192.168.100.11-14, or a single one."
    )
    devices: tuple[Device, ...] = Field((), description="GPUs of each node; simulated by the local provider.")

    @model_validator(mode="after")
    def _models_differ(self) -> NodeGroup:
        models = [device.model for device in self.devices]
        for model in models:
            if models.count(model) > 1:
                raise ValueError(f"device model '{model}' is listed more than once; add up its count")
        return self

    @property
    def node_names(self) -> tuple[str, ...]:
        """Its nodes: the name of the group (or ``node``) and a number of two digits or more."""
        prefix = self.name or "node"
        return tuple(f"{prefix}{index:02d}" for index in range(1, self.count + 1))


class ControlPlane(Frozen):
    count: int = Field(
        1, ge=1, le=7, description="How many machines: 1, or an odd number for high availability."
    )
    high_availability: bool = Field(
        False, description="Whether the control plane outlives the loss of a machine."
    )
    virtual_ip: Address | None = Field(None, description="Address that moves to a machine that is well.")
    cpu_cores: Cores = Field(2, description="CPUs of each machine.")
    memory_gb: Gib = Field(4, description="Memory of each machine, in GiB.")
    disk_gb: Gib | None = Field(None, description="Disk of each machine, in GiB.")
    ip_address: Address | None = Field(None, description="Its address in cloud_network, where count is 1.")
    ip_range: AddressRange | None = Field(
        None, description="Addresses of its machines, where there are more."
    )


class WorkerGroup(Frozen):
    count: int = Field(ge=1, le=1000, description="How many machines.")
    cpu_cores: Cores = Field(description="CPUs of each machine.")
    memory_gb: Gib = Field(description="Memory of each machine, in GiB.")
    disk_gb: Gib | None = Field(None, description="Disk of each machine, in GiB.")
    gpu_enabled: bool = Field(False, description="Whether its machines take part in global.gpu_allocation.")
    ip_range: AddressRange | None = Field(
        None, description="Addresses of its machines, one each: 192.168.200.12-14, or a single one."
    )


class WorkerNodes(Frozen):
    cpu_workers: WorkerGroup | None = Field(None, description="Machines without GPUs.")
    gpu_workers: WorkerGroup | None = Field(None, description="Machines with GPUs.")
