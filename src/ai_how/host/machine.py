"""A whole machine as it was found, recorded or made up: what the doctor judges and any other machine can rehearse.

Every part may be left out, and then nobody could tell: a check says so rather than guess. Memory and disks are in
GiB here, where people write them; what NVML tells stays in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from ai_how.host.gpus import GpuFound
from ai_how.host.model import Family
from ai_how.spec.model import Frozen

Size = Annotated[float, Field(ge=0)]
NVIDIA = "10de"
#: PCI base class of display controllers: VGA (0300), 3D (0302) and others.
DISPLAY = "03"
#: In :class:`Limits`: there is none.
UNLIMITED = -1


class Cpus(Frozen):
    """The processors. ``flags`` holds those of vmx, svm and hypervisor that every processor reports."""

    model: str = Field("", description="Product name.")
    sockets: int = Field(1, ge=1, description="Packages.")
    cores: int = Field(ge=1, description="Cores of all sockets.")
    threads: int = Field(ge=1, description="CPUs that the kernel sees.")
    usable: int | None = Field(None, ge=1, description="CPUs that this user's processes may run on.")
    flags: tuple[str, ...] = Field(
        (), description="vmx or svm (virtualisation), hypervisor (itself a guest)."
    )


class NumaNode(Frozen):
    id: int = Field(ge=0, description="Number of the NUMA node.")
    cpus: str = Field("", description="Its CPUs as the kernel lists them, such as 0-15,32-47.")
    memory_gb: Size = Field(0.0, description="Its memory, in GiB.")


class Disk(Frozen):
    name: str = Field(description="Name of the block device, such as nvme0n1.")
    size_gb: Size = Field(description="Its size, in GiB.")
    rotational: bool = Field(False, description="Whether it has platters.")


class PciDevice(Frozen):
    address: str = Field(description="PCI address, such as 0000:65:00.0.")
    vendor: str = Field(description="Vendor id, four hexadecimal digits; NVIDIA is 10de.")
    device: str = Field("", description="Device id, four hexadecimal digits.")
    kind: str = Field("", description="Class, four hexadecimal digits; 0302 is a 3D controller.")
    driver: str | None = Field(None, description="Kernel driver that has it; left out when none has.")
    iommu_group: int | None = Field(None, description="IOMMU group; left out where there is no IOMMU.")
    numa_node: int | None = Field(None, description="NUMA node that it hangs on.")

    @property
    def is_nvidia_gpu(self) -> bool:
        return self.vendor == NVIDIA and self.kind.startswith(DISPLAY)


class Route(Frozen):
    network: str = Field(description="Network that it leads to, such as 192.168.1.0/24.")
    interface: str = Field(description="Interface that it leaves by.")
    gateway: str = Field("", description="Next hop; left out for a network on the link.")


class Limits(Frozen):
    """Soft limits of this user's processes; -1 is none."""

    nofile: int = Field(description="Open files of a process.")
    nproc: int = Field(description="Processes of the user.")
    memlock: int = Field(description="Bytes of memory that a process may lock.")


class System(Frozen):
    """What the operating system is like for whoever runs this."""

    root: bool | None = Field(None, description="Whether the user is root.")
    groups: tuple[str, ...] | None = Field(None, description="Groups of the user.")
    modules: tuple[str, ...] | None = Field(None, description="Kernel modules that matter here.")
    kvm: Literal["absent", "closed", "open"] | None = Field(
        None, description="/dev/kvm: absent, closed to the user, or open."
    )
    nested: bool | None = Field(None, description="Whether guests may run guests.")
    cgroup: Literal["v1", "hybrid", "v2"] | None = Field(None, description="Mode of control groups.")
    limits: Limits | None = Field(None, description="Limits of the user's processes.")
    shared_memory_gb: Size | None = Field(None, description="Size of /dev/shm, in GiB.")
    user_namespaces: str | None = Field(
        None,
        description="open when users may make user namespaces, else the kernel's setting that closes them.",
    )
    clock_synchronised: bool | None = Field(None, description="Whether the kernel's clock is kept in step.")
    own_address: str | None = Field(
        None, description="What the host's own name resolves to; empty for nothing."
    )
    daemons: tuple[str, ...] | None = Field(
        None, description="Daemons of the system's that run and matter here."
    )
    programs: tuple[str, ...] | None = Field(None, description="Programs of providers that are on PATH.")


class Machine(Frozen):
    """All that was found. What is None, nobody could tell."""

    inventory: Literal["1.0"] = Field(description="Version of this file's shape, in quotes.")
    origin: Literal["found", "recorded", "simulated"] = Field(
        "simulated", description="recorded: by AI-HOW on a machine; simulated: written by hand."
    )
    hostname: str = Field("", description="Name of the host.")
    distribution: str = Field("", description="Name of the distribution.")
    release: str = Field("", description="Short name of the distribution and its version, such as debian-12.")
    family: Family | None = Field(
        None, description="Whose packages it uses; follows from release when left out."
    )
    kernel: str = Field("", description="Release of the kernel.")
    architecture: str = Field("", description="Of the processors, such as x86_64.")
    cpus: Cpus | None = Field(None, description="The processors.")
    memory_gb: Size | None = Field(None, description="Memory, in GiB.")
    disk_free_gb: Size | None = Field(None, description="Free space where AI-HOW keeps its data, in GiB.")
    disks: tuple[Disk, ...] | None = Field(None, description="Disks.")
    numa_nodes: tuple[NumaNode, ...] | None = Field(None, description="NUMA nodes.")
    pci_devices: tuple[PciDevice, ...] | None = Field(None, description="PCI devices.")
    iommu_groups: int | None = Field(
        None, ge=0, description="How many IOMMU groups there are; 0 when it is off."
    )
    routes: tuple[Route, ...] | None = Field(None, description="Routes of the host (IPv4).")
    driver: str | None = Field(None, description="Version of NVIDIA's driver; left out when none is loaded.")
    gpus: tuple[GpuFound, ...] | None = Field(None, description="NVIDIA GPUs.")
    system: System = Field(default_factory=System, description="The operating system.")
    could_not_tell: Mapping[str, str] = Field(
        default_factory=dict, description="Facts that nobody could tell, each with the reason."
    )

    @property
    def nvidia_on_pci(self) -> tuple[PciDevice, ...] | None:
        """NVIDIA's GPUs as PCI shows them, driver or not; None when PCI could not be read."""
        if self.pci_devices is None:
            return None
        return tuple(device for device in self.pci_devices if device.is_nvidia_gpu)
