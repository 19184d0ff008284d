"""The GPUs of a site and who gets them. What a card can do is known one room above, in ``gpu``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ai_how.spec.values import Frozen, Shape

#: How a device is named in the file; the name goes into rendered files and drawings.
DeviceId = Annotated[str, Shape(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "id: letters, digits, '_', '.' and '-'")]
#: domain:bus:device.function in hexadecimal, as lspci -D and NVML print it.
PciAddress = Annotated[
    str,
    Shape(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]", "PCI address, such as 0000:65:00.0"),
]
ProfileName = Annotated[str, Field(min_length=1)]


class GpuDevice(Frozen):
    id: DeviceId = Field(description="Name of the device in this file, such as GPU-0.")
    pci_address: PciAddress | None = Field(
        None, description='Its PCI address, such as "0000:65:00.0"; needed where the device is real.'
    )
    model: Annotated[str, Field(min_length=1)] = Field(
        description='The product, as NVML names it or shorter: "NVIDIA A100 80GB", a100-80.'
    )
    mig_capable: bool = Field(False, description="Whether it may be partitioned into MIG slices.")
    allowed_mig_profiles: Annotated[tuple[ProfileName, ...], Field(min_length=1)] | None = Field(
        None, description="MIG profiles that may be made on it; all that its model has when left out."
    )


class Shares(Frozen):
    hpc: int = Field(0, ge=0, description="How many go to the GPU nodes of the Slurm side.")
    cloud: int = Field(0, ge=0, description="How many go to the GPU nodes of the cloud side.")


class AtLeast(Frozen):
    memory_gb: int = Field(1, ge=1, description="Memory of the slice, in GB as profiles are named.")
    compute_slices: int = Field(1, ge=1, le=7, description="Compute slices of the slice.")


class GpuDemand(Frozen):
    name: DeviceId = Field(description="Name of the demand.")
    for_: str = Field(
        alias="for",
        description="Who gets it: a cluster (`hpc`) or a node group "
        "(`hpc.compute_nodes`, `hpc.compute_nodes.NAME`, `cloud.worker_nodes.gpu_workers`).",
    )
    profile: ProfileName | None = Field(None, description="MIG profile of each slice, such as 1g.10gb.")
    at_least: AtLeast | None = Field(
        None, description="The smallest profile with this much memory and compute is chosen."
    )
    whole: bool = Field(False, description="Ask for whole devices instead of slices.")
    count: int = Field(1, ge=1, le=100_000, description="How many slices, or whole devices.")
    device: DeviceId | None = Field(None, description="Pins it to the device of this id.")
    start: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Pins one slice to this memory slice of its device."
    )
    placement: Literal["packed", "spread"] = Field(
        "packed", description="On as few devices as possible, or on as many as there are."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> GpuDemand:
        if (self.profile is not None) + (self.at_least is not None) + self.whole != 1:
            raise ValueError(
                f"the demand '{self.name}' asks for exactly one of: profile, at_least, whole: true"
            )
        if self.start is not None and (self.profile is None or self.device is None or self.count > 1):
            raise ValueError(
                f"the demand '{self.name}' has a start: that pins one slice (count: 1) of a profile on a device"
            )
        return self


class GpuAllocation(Frozen):
    devices: tuple[GpuDevice, ...] = Field((), description="The GPUs of this machine that the site may use.")
    strategy: Literal["mig", "whole", "hybrid"] = Field(
        "hybrid", description="Give out slices only (mig), whole devices only (whole), or both (hybrid)."
    )
    mig_slices: Shares = Field(
        default_factory=Shares,
        description="Slices of the smallest allowed profile, one after another to the GPU nodes of each cluster.",
    )
    whole_gpus: Shares = Field(
        default_factory=Shares, description="Whole devices for the GPU nodes of each cluster."
    )
    demands: tuple[GpuDemand, ...] = Field(
        (), description="Finer demands: a profile or a size, for a node group, pinned, packed or spread."
    )
