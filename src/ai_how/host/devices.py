"""GPUs that were found, as the planner and the renderers take them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ai_how.gpu.catalogue import kind_of
from ai_how.gpu.model import Device, Held, Kind, Profile, Slice
from ai_how.gpu.render import Sharing, Told
from ai_how.host.gpus import MIB, GpuFound, ProfileFound
from ai_how.host.machine import Machine


def kind_found(gpu: GpuFound) -> Kind:
    """What the device can do: what NVML says of it, under the catalogue's names.

    Names of profiles change with the driver, numbers do not: a profile that both know keeps the catalogue's name.
    """
    known = kind_of(gpu.model) or Kind(
        key=gpu.model.lower().replace(" ", "-"),
        short=gpu.model.lower().removeprefix("nvidia ").replace(" ", "_"),
        products=(gpu.model,),
        memory_gb=round(gpu.memory / (1024 * MIB)),
    )
    if gpu.mig is None:
        return replace(known, compute_slices=0, memory_slices=0, profiles=())
    told = {each.id: each for each in gpu.profiles if each.starts}
    if not told:
        return known
    rows = {row.id: row for row in known.profiles}
    profiles = tuple(_profile(each, rows.get(number)) for number, each in told.items())
    return replace(
        known,
        profiles=tuple(sorted(profiles, key=lambda row: [*rows].index(row.id) if row.id in rows else 99)),
        compute_slices=max(row.compute for row in profiles),
        memory_slices=known.memory_slices or max(max(row.starts) + row.size for row in profiles),
        inferred=False,
    )


def _profile(told: ProfileFound, known: Profile | None) -> Profile:
    memory = round(told.memory / (1024 * MIB))
    row = known or Profile(told.name, told.compute, told.size, told.starts, told.maximum, told.id, memory)
    return replace(
        row,
        compute=told.compute,
        size=told.size,
        starts=told.starts,
        maximum=told.maximum,
        media=row.media or told.media,
    )


def device_found(gpu: GpuFound) -> Device:
    """The device with what is on it. Whoever runs there is a consumer of his own: nobody knows whose work it is."""
    kind = kind_found(gpu)
    names = {row.id: row.name for row in kind.profiles}
    held = []
    for each in gpu.instances or ():
        running = _who(process.pid for process in gpu.running_on(each.id))
        one = Slice(gpu.uuid, each.start, names.get(each.profile_id, each.profile))
        held.append(Held(one, running, running is not None))
    elsewhere = _who(process.pid for process in gpu.processes or () if process.instance is None)
    return Device(
        id=gpu.uuid,
        kind=kind,
        pci_address=gpu.pci_address,
        uuid=gpu.uuid,
        mig=gpu.mig is not None,
        held=tuple(held),
        whole_for=elsewhere,
        whole_running=elsewhere is not None,
        mig_now=gpu.mig.current if gpu.mig else None,
        product=gpu.model,
    )


def renamed(device: Device, name: str) -> Device:
    """The device under the name that a file gives it, its slices too."""
    held = tuple(replace(each, slice=replace(each.slice, device=name)) for each in device.held)
    return replace(device, id=name, held=held)


def _who(pids: Iterable[int]) -> str | None:
    numbers = sorted(set(pids))
    return f"process {', '.join(map(str, numbers))}" if numbers else None


def told_of(gpu: GpuFound, *, simulated: bool = False) -> Told:
    """What the renderers want to know of it: NVML's index, its product name, the MiB of an instance by profile.

    The memory of a ``simulated`` device is a round number that no driver told, and is left out.
    """
    if simulated:
        return Told(gpu.index, gpu.model)
    names = {row.id: row.name for row in kind_found(gpu).profiles}
    memory = {names.get(each.id, each.name): each.memory // MIB for each in gpu.profiles if each.memory}
    return Told(gpu.index, gpu.model, memory)


def sharing_of(machine: Machine) -> Sharing:
    """How this machine can hand slices to virtual machines, by its kernel modules and whether a driver answers.

    The vGPU driver registers with the kernel's mediated devices where there are any; on newer kernels and drivers it
    uses SR-IOV virtual functions with a VFIO driver of its own.
    """
    modules = machine.system.modules
    if modules is None:
        return "unknown"
    if "nvidia_vgpu_vfio" not in modules:
        return "none"
    return "mediated-device" if "mdev" in modules else "virtual-function"
