"""NVML over an inventory instead of a driver: the same Protocol, for rehearsals and for tests.

It holds to what NVIDIA documents of the real one: an instance begins at one of its profile's starts, instances do not
overlap, compute instances go before their GPU instance, nothing in use is removed, and MIG is switched only on an
idle device. What it holds is simulated, and nothing here was ever observed.
"""

from __future__ import annotations

from collections.abc import Iterable

from ai_how.host.gpus import (
    ComputeInstanceFound,
    GpuFound,
    InstanceFound,
    MigMode,
    ProcessFound,
    name_of,
)
from ai_how.host.nvml import (
    IN_USE,
    INSUFFICIENT_RESOURCES,
    NO_PERMISSION,
    NOT_FOUND,
    NOT_SUPPORTED,
    NvmlError,
)

_WORDS = {
    NOT_SUPPORTED: "Not Supported",
    NO_PERMISSION: "Insufficient Permissions",
    NOT_FOUND: "Not Found",
    IN_USE: "In use by another client",
    INSUFFICIENT_RESOURCES: "Insufficient Resources",
}
#: Compute capability from which on switching MIG needs no reset of the device (Hopper; MIG user guide).
_WITHOUT_RESET = (9, 0)


class SimulatedNvml:
    """Devices that exist on paper. ``gpus`` is how they stand at first; changes are kept in this object alone."""

    def __init__(self, gpus: Iterable[GpuFound], *, driver: str = "simulated") -> None:
        self._gpus = {gpu.uuid: gpu for gpu in gpus}
        self._driver = driver

    def open(self) -> None: ...
    def close(self) -> None: ...

    def driver_version(self) -> str:
        return self._driver

    def gpus(self) -> tuple[GpuFound, ...]:
        return tuple(self._gpus.values())

    def gpu(self, device: str) -> GpuFound:
        if device not in self._gpus:
            raise _refusal(f"find the device {device}", NOT_FOUND)
        return self._gpus[device]

    def mig_mode(self, device: str) -> MigMode | None:
        return self.gpu(device).mig

    def instances(self, device: str) -> tuple[InstanceFound, ...]:
        instances = self.gpu(device).instances
        if instances is None:
            raise _refusal(f"list the GPU instances of {device}", NO_PERMISSION)
        return tuple(sorted(instances, key=lambda each: each.start))

    def processes(self, device: str) -> tuple[ProcessFound, ...]:
        processes = self.gpu(device).processes
        if processes is None:
            raise _refusal(f"list the processes on {device}", NO_PERMISSION)
        return processes

    def set_mig_mode(self, device: str, enabled: bool) -> MigMode:
        gpu = self.gpu(device)
        what = f"switch MIG {'on' if enabled else 'off'} on {device}"
        if gpu.mig is None:
            raise _refusal(what, NOT_SUPPORTED)
        if gpu.mig.current == gpu.mig.pending == enabled:
            return gpu.mig
        if gpu.processes or gpu.instances:
            raise _refusal(what, IN_USE)
        at_once = _capability(gpu) >= _WITHOUT_RESET
        mode = MigMode(current=enabled if at_once else gpu.mig.current, pending=enabled)
        self._gpus[device] = gpu.model_copy(update={"mig": mode})
        return mode

    def create_gpu_instance(self, device: str, profile_id: int, start: int) -> InstanceFound:
        gpu = self.gpu(device)
        name = name_of(gpu.profiles, profile_id)
        what = f"create {name} at {start} on {device}"
        profile = gpu.profile(profile_id)
        if gpu.mig is None or not gpu.mig.current or profile is None:
            raise _refusal(what, NOT_SUPPORTED)
        there = self.instances(device)
        wanted = range(start, start + profile.size)
        overlaps = any(set(wanted) & set(range(each.start, each.start + each.size)) for each in there)
        same = sum(each.profile_id == profile_id for each in there)
        compute = profile.compute + sum(_compute(gpu, each) for each in there)
        slices = max((each.compute for each in gpu.profiles), default=0)
        if start not in profile.starts or overlaps or same >= profile.maximum or compute > slices:
            raise _refusal(what, INSUFFICIENT_RESOURCES)
        taken = {each.id for each in there}
        made = InstanceFound(
            id=next(number for number in range(1, len(taken) + 2) if number not in taken),
            profile_id=profile_id,
            profile=name,
            start=start,
            size=profile.size,
        )
        self._keep(gpu, (*there, made))
        return made

    def destroy_gpu_instance(self, device: str, instance: int) -> None:
        gpu, found = self._instance(device, instance)
        if found.compute_instances or gpu.running_on(instance):
            raise _refusal(f"destroy GPU instance {instance} of {device}", IN_USE)
        self._keep(gpu, (each for each in gpu.instances or () if each.id != instance))

    def create_compute_instance(self, device: str, instance: int) -> ComputeInstanceFound:
        gpu, found = self._instance(device, instance)
        if found.compute_instances:
            raise _refusal(f"create a compute instance in {instance} of {device}", INSUFFICIENT_RESOURCES)
        made = ComputeInstanceFound(
            id=0, profile_id=0, uuid=f"MIG-{device.removeprefix('GPU-')}-{instance}-0"
        )
        self._replace(gpu, found.model_copy(update={"compute_instances": (made,)}))
        return made

    def destroy_compute_instance(self, device: str, instance: int, compute_instance: int) -> None:
        gpu, found = self._instance(device, instance)
        left = tuple(each for each in found.compute_instances if each.id != compute_instance)
        what = f"destroy compute instance {compute_instance} in {instance} of {device}"
        if len(left) == len(found.compute_instances):
            raise _refusal(what, NOT_FOUND)
        if any(each.compute_instance in (None, compute_instance) for each in gpu.running_on(instance)):
            raise _refusal(what, IN_USE)
        self._replace(gpu, found.model_copy(update={"compute_instances": left}))

    def _instance(self, device: str, instance: int) -> tuple[GpuFound, InstanceFound]:
        for each in self.instances(device):
            if each.id == instance:
                return self.gpu(device), each
        raise _refusal(f"find GPU instance {instance} of {device}", NOT_FOUND)

    def _replace(self, gpu: GpuFound, instance: InstanceFound) -> None:
        self._keep(gpu, (instance if each.id == instance.id else each for each in gpu.instances or ()))

    def _keep(self, gpu: GpuFound, instances: Iterable[InstanceFound]) -> None:
        by_start = tuple(sorted(instances, key=lambda each: each.start))
        self._gpus[gpu.uuid] = gpu.model_copy(update={"instances": by_start})


def _compute(gpu: GpuFound, instance: InstanceFound) -> int:
    profile = gpu.profile(instance.profile_id)
    return profile.compute if profile else 0


def _capability(gpu: GpuFound) -> tuple[int, ...]:
    return tuple(int(part) for part in gpu.compute_capability.split(".") if part.isdigit())


def _refusal(what: str, code: int) -> NvmlError:
    return NvmlError(what, code, _WORDS[code])
