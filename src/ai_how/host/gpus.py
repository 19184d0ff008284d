"""The types of what is found about NVIDIA GPUs: the device, its MIG profiles, the instances on it, who runs there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from ai_how.spec.model import Frozen

MIB = 2**20


class MigMode(Frozen):
    """Whether MIG is on, and what it will be after the next reset of the device (Ampere needs one)."""

    current: bool = Field(description="Whether MIG is on now.")
    pending: bool = Field(description="Whether MIG will be on after the next reset of the device.")


class ProfileFound(Frozen):
    """A MIG profile that the driver offers on a device.

    ``size`` memory slices are taken from one of ``starts`` on; both are empty when the driver did not tell (then
    :attr:`GpuFound.could_not_tell` says why). ``memory`` is in bytes.
    """

    id: int = Field(ge=0, description="Number of the profile for NVML and nvidia-smi mig.")
    name: str = Field(description="Name of the profile, such as 1g.10gb.")
    compute: int = Field(ge=1, description="Compute slices that an instance takes.")
    memory: int = Field(ge=0, description="Memory of an instance, in bytes.")
    maximum: int = Field(ge=0, description="How many instances of it fit on an empty device.")
    size: int = Field(0, ge=0, description="Memory slices that an instance takes.")
    starts: tuple[int, ...] = Field((), description="Memory slices at which an instance may begin.")
    multiprocessors: int = Field(0, ge=0, description="Streaming multiprocessors of an instance.")
    media: bool = Field(False, description="Whether it holds media engines (+me).")


class ComputeInstanceFound(Frozen):
    """A compute instance inside a GPU instance; ``uuid`` is what CUDA_VISIBLE_DEVICES takes (``MIG-...``)."""

    id: int = Field(ge=0, description="Number of the compute instance in its GPU instance.")
    profile_id: int = Field(ge=0, description="Number of its compute instance profile.")
    uuid: str = Field("", description="UUID of the MIG device; empty when it was not told.")


class InstanceFound(Frozen):
    """A GPU instance that exists: a slice, in the words of the design."""

    id: int = Field(ge=0, description="Number of the GPU instance.")
    profile_id: int = Field(ge=0, description="Number of its profile.")
    profile: str = Field(description="Name of its profile, such as 1g.10gb.")
    start: int = Field(ge=0, description="First memory slice.")
    size: int = Field(ge=1, description="How many memory slices it takes.")
    compute_instances: tuple[ComputeInstanceFound, ...] = Field((), description="Compute instances in it.")


class ProcessFound(Frozen):
    """A process that uses a device, or the instance that ``instance`` and ``compute_instance`` name."""

    pid: int = Field(ge=0, description="Process id.")
    name: str = Field("", description="Name of the program; empty when it was not told.")
    memory: int | None = Field(None, ge=0, description="Memory of the GPU that it holds, in bytes.")
    instance: int | None = Field(None, description="GPU instance on which it runs.")
    compute_instance: int | None = Field(None, description="Compute instance on which it runs.")


class GpuFound(Frozen):
    """A GPU as NVML (or nvidia-smi) reports it, or as a simulated inventory says.

    ``mig`` is None for a device that cannot do MIG. ``instances`` and ``processes`` are None when they could not be
    told: listing instances needs privileges. ``could_not_tell`` says for each such fact why.
    """

    model: str = Field(description="Product name, such as NVIDIA A100-SXM4-80GB.")
    index: int = Field(0, ge=0, description="Number of the device for NVML.")
    uuid: str = Field("", description="UUID of the device (GPU-...).")
    pci_address: str = Field("", description="PCI address, such as 0000:65:00.0.")
    memory: int = Field(0, ge=0, description="Memory of the device, in bytes.")
    compute_capability: str = Field("", description="CUDA compute capability, such as 8.0.")
    mig: MigMode | None = Field(None, description="State of MIG; left out for a device without it.")
    profiles: tuple[ProfileFound, ...] = Field((), description="MIG profiles that the driver offers.")
    instances: tuple[InstanceFound, ...] | None = Field((), description="GPU instances that exist.")
    processes: tuple[ProcessFound, ...] | None = Field((), description="Processes that run there now.")
    could_not_tell: Mapping[str, str] = Field(
        default_factory=dict, description="Facts that nobody could tell, each with the reason."
    )

    def profile(self, profile_id: int) -> ProfileFound | None:
        """The profile of that number; None when the device has none such."""
        return next((profile for profile in self.profiles if profile.id == profile_id), None)

    def running_on(self, instance: int) -> tuple[ProcessFound, ...]:
        """The processes of one GPU instance, as far as they are known."""
        return tuple(process for process in self.processes or () if process.instance == instance)


def pci_address(text: str) -> str:
    """A PCI address as the kernel writes it (``0000:65:00.0``) from NVML's ``00000000:65:00.0`` or ``65:00.0``."""
    parts = text.strip().lower().split(":")
    domain = f"{int(parts[0], 16):04x}" if len(parts) == 3 else "0000"
    return ":".join((domain, *parts[-2:]))


def profile_name(text: str) -> str:
    """The name of a profile as it is written elsewhere: NVML and nvidia-smi put the word MIG before it."""
    return text.strip().removeprefix("MIG ").strip()


def name_of(profiles: Iterable[ProfileFound], profile_id: int) -> str:
    """The name of the profile of that number, or its number in words when nobody told its name."""
    return next((each.name for each in profiles if each.id == profile_id), f"profile {profile_id}")
