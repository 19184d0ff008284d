"""NVML by NVIDIA's own library, which comes with the driver; ``pynvml`` is its binding and is imported late.

The calls and the sizes of their buffers follow nvml.h. A fact that the driver refuses to tell does not spoil the
others: it is left empty, and :attr:`GpuFound.could_not_tell` says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_uint
from typing import Any, TypeVar

from ai_how.host.gpus import (
    MIB,
    ComputeInstanceFound,
    GpuFound,
    InstanceFound,
    MigMode,
    ProcessFound,
    ProfileFound,
    name_of,
    pci_address,
    profile_name,
)
from ai_how.host.nvml import INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, NvmlError

_NOWHERE = 0xFFFFFFFF  # NVML's number for "on no instance"
_TODO = {
    4: "Ask as root, or let an administrator give you access to the MIG configuration.",
    9: "Load NVIDIA's driver: sudo modprobe nvidia",
    12: "Install NVIDIA's driver; its library libnvidia-ml.so.1 comes with it.",
    13: "Install a newer driver: R525 knows everything that is asked here.",
    18: "Restart the machine: the driver was updated, and the old one is still loaded.",
    19: "End what runs there first; `ai-how gpu inventory` shows it.",
}
Told = TypeVar("Told")


class LibraryNvml:
    """The real one. ``binding`` is the module pynvml, unless a test hands in its own."""

    def __init__(self, binding: Any = None) -> None:
        self._binding = binding
        self._open = False

    def open(self) -> None:
        if self._open:
            return
        if self._binding is None:
            self._binding = importlib.import_module("pynvml")
        with self._asking("begin"):
            self._binding.nvmlInit()
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            with self._asking("end"):
                self._binding.nvmlShutdown()

    def driver_version(self) -> str:
        with self._asking("tell the driver's version"):
            return str(self._binding.nvmlSystemGetDriverVersion())

    def gpus(self) -> tuple[GpuFound, ...]:
        with self._asking("count the devices"):
            count = int(self._binding.nvmlDeviceGetCount())
        return tuple(self._gpu(index) for index in range(count))

    def gpu(self, device: str) -> GpuFound:
        with self._asking(f"find the device {device}"):
            index = int(self._binding.nvmlDeviceGetIndex(self._handle(device)))
        return self._gpu(index)

    def mig_mode(self, device: str) -> MigMode | None:
        return self._mig_mode(self._handle(device))

    def instances(self, device: str) -> tuple[InstanceFound, ...]:
        handle = self._handle(device)
        mode = self._mig_mode(handle)
        # Without MIG the library refuses the question; the answer is known all the same.
        return self._instances(handle, self._profiles(handle)) if mode and mode.current else ()

    def processes(self, device: str) -> tuple[ProcessFound, ...]:
        return self._processes(self._handle(device))

    def set_mig_mode(self, device: str, enabled: bool) -> MigMode:
        handle = self._handle(device)
        with self._asking(f"switch MIG {'on' if enabled else 'off'} on {device}"):
            self._binding.nvmlDeviceSetMigMode(handle, int(enabled))
        mode = self._mig_mode(handle)
        if mode is None:
            raise NvmlError(f"tell whether MIG is on for {device}", NOT_SUPPORTED, "Not Supported")
        return mode

    def create_gpu_instance(self, device: str, profile_id: int, start: int) -> InstanceFound:
        handle = self._handle(device)
        profile = next((each for each in self._profiles(handle) if each.id == profile_id), None)
        what = f"create {profile.name if profile else f'profile {profile_id}'} at {start} on {device}"
        if profile is None:
            raise NvmlError(what, NOT_SUPPORTED, "Not Supported")
        placement = self._binding.c_nvmlGpuInstancePlacement_t(start, profile.size)
        with self._asking(what):
            made = self._binding.nvmlDeviceCreateGpuInstanceWithPlacement(
                handle, profile_id, byref(placement)
            )
            return self._instance(self._binding.nvmlGpuInstanceGetInfo(made), (profile,), ())

    def destroy_gpu_instance(self, device: str, instance: int) -> None:
        with self._asking(f"destroy GPU instance {instance} of {device}"):
            self._binding.nvmlGpuInstanceDestroy(self._instance_handle(device, instance))

    def create_compute_instance(self, device: str, instance: int) -> ComputeInstanceFound:
        handle = self._instance_handle(device, instance)
        with self._asking(f"create a compute instance in {instance} of {device}"):
            whole = max(self._compute_profiles(handle), key=lambda profile: int(profile.sliceCount))
            made = self._binding.nvmlGpuInstanceCreateComputeInstance(handle, whole.id)
            info = self._binding.nvmlComputeInstanceGetInfo(made)
            uuids = self._mig_uuids(self._handle(device))
        number = int(info.id)
        return ComputeInstanceFound(
            id=number, profile_id=int(info.profileId), uuid=uuids.get((instance, number), "")
        )

    def destroy_compute_instance(self, device: str, instance: int, compute_instance: int) -> None:
        with self._asking(f"destroy compute instance {compute_instance} in {instance} of {device}"):
            inside = self._instance_handle(device, instance)
            self._binding.nvmlComputeInstanceDestroy(
                self._binding.nvmlGpuInstanceGetComputeInstanceById(inside, compute_instance)
            )

    # What follows speaks in the library's handles.

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._binding.NVMLError as error:
            raise NvmlError(what, error.value, str(error), todo=_TODO.get(error.value)) from error

    def _handle(self, device: str) -> Any:
        with self._asking(f"find the device {device}"):
            return self._binding.nvmlDeviceGetHandleByUUID(device)

    def _instance_handle(self, device: str, instance: int) -> Any:
        with self._asking(f"find GPU instance {instance} of {device}"):
            return self._binding.nvmlDeviceGetGpuInstanceById(self._handle(device), instance)

    def _gpu(self, index: int) -> GpuFound:
        with self._asking(f"find device {index}"):
            handle = self._binding.nvmlDeviceGetHandleByIndex(index)
            model = str(self._binding.nvmlDeviceGetName(handle))
            uuid = str(self._binding.nvmlDeviceGetUUID(handle))
        silent: dict[str, str] = {}

        def told(fact: str, ask: Callable[[], Told]) -> Told | None:
            try:
                return ask()
            except NvmlError as error:
                silent[fact] = error.cause or error.message
                return None

        mig = told("mig", lambda: self._mig_mode(handle))
        profiles = (told("profiles", lambda: self._profiles(handle, silent)) if mig else None) or ()
        on = mig is not None and mig.current
        return GpuFound(
            model=model,
            index=index,
            uuid=uuid,
            pci_address=told("pci_address", lambda: self._pci_address(handle)) or "",
            memory=told("memory", lambda: self._memory(handle)) or 0,
            compute_capability=told("compute_capability", lambda: self._capability(handle)) or "",
            mig=mig,
            profiles=profiles,
            instances=told("instances", lambda: self._instances(handle, profiles)) if on else (),
            processes=told("processes", lambda: self._processes(handle)),
            could_not_tell=silent,
        )

    def _pci_address(self, handle: Any) -> str:
        with self._asking("tell the PCI address"):
            bus = self._binding.nvmlDeviceGetPciInfo(handle).busId
            return pci_address(bus.decode() if isinstance(bus, bytes) else str(bus))

    def _memory(self, handle: Any) -> int:
        with self._asking("tell the memory"):
            return int(self._binding.nvmlDeviceGetMemoryInfo(handle).total)

    def _capability(self, handle: Any) -> str:
        with self._asking("tell the compute capability"):
            return "{}.{}".format(*self._binding.nvmlDeviceGetCudaComputeCapability(handle))

    def _mig_mode(self, handle: Any) -> MigMode | None:
        try:
            with self._asking("tell whether MIG is on"):
                current, pending = self._binding.nvmlDeviceGetMigMode(handle)
        except NvmlError as error:
            if error.code == NOT_SUPPORTED:
                return None
            raise
        return MigMode(current=bool(current), pending=bool(pending))

    def _profiles(self, handle: Any, silent: dict[str, str] | None = None) -> tuple[ProfileFound, ...]:
        """Every profile of the device; why placements were not told goes into ``silent``."""
        found = []
        for number in range(self._binding.NVML_GPU_INSTANCE_PROFILE_COUNT):
            try:
                with self._asking(f"describe profile {number}"):
                    info = self._binding.nvmlDeviceGetGpuInstanceProfileInfo(handle, number)
            except NvmlError as error:
                # The binding may know more profiles than this driver or this device.
                if error.code in (NOT_SUPPORTED, INVALID_ARGUMENT, NOT_FOUND):
                    continue
                raise
            found.append(self._profile(handle, info, {} if silent is None else silent))
        return tuple(sorted(found, key=lambda profile: (profile.compute, profile.memory, profile.name)))

    def _profile(self, handle: Any, info: Any, silent: dict[str, str]) -> ProfileFound:
        raw = info.name
        name = profile_name(raw.decode() if isinstance(raw, bytes) else str(raw))
        size = 0
        starts: tuple[int, ...] = ()
        try:
            size, starts = self._placements(handle, int(info.id))
        except NvmlError as error:
            silent[f"placements of {name}"] = error.cause or error.message
        return ProfileFound(
            id=int(info.id),
            name=name,
            compute=int(info.sliceCount),
            memory=int(info.memorySizeMB) * MIB,
            maximum=int(info.instanceCount),
            size=size,
            starts=starts,
            multiprocessors=int(info.multiprocessorCount),
            media="+me" in name,
        )

    def _placements(self, handle: Any, profile_id: int) -> tuple[int, tuple[int, ...]]:
        count = c_uint(0)
        ask = self._binding.nvmlDeviceGetGpuInstancePossiblePlacements
        with self._asking(f"tell where profile {profile_id} may begin"):
            ask(handle, profile_id, None, byref(count))
            buffer = (self._binding.c_nvmlGpuInstancePlacement_t * max(count.value, 1))()
            ask(handle, profile_id, buffer, byref(count))
        placements = [(int(each.start), int(each.size)) for each in buffer[: count.value]]
        return placements[0][1] if placements else 0, tuple(sorted(start for start, _ in placements))

    def _instances(self, handle: Any, profiles: tuple[ProfileFound, ...]) -> tuple[InstanceFound, ...]:
        found = []
        with self._asking("list the GPU instances"):
            uuids = self._mig_uuids(handle)
            for profile in profiles:
                count = c_uint(profile.maximum)
                buffer = (self._binding.c_nvmlGpuInstance_t * max(profile.maximum, 1))()
                self._binding.nvmlDeviceGetGpuInstances(handle, profile.id, buffer, byref(count))
                for each in buffer[: count.value]:
                    info = self._binding.nvmlGpuInstanceGetInfo(each)
                    inside = self._compute_instances(each, int(info.id), uuids)
                    found.append(self._instance(info, profiles, inside))
        return tuple(sorted(found, key=lambda each: each.start))

    def _instance(
        self, info: Any, profiles: tuple[ProfileFound, ...], inside: tuple[ComputeInstanceFound, ...]
    ) -> InstanceFound:
        return InstanceFound(
            id=int(info.id),
            profile_id=int(info.profileId),
            profile=name_of(profiles, int(info.profileId)),
            start=int(info.placement.start),
            size=int(info.placement.size),
            compute_instances=inside,
        )

    def _compute_profiles(self, instance: Any) -> Iterator[Any]:
        for number in range(self._binding.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
            try:
                yield self._binding.nvmlGpuInstanceGetComputeInstanceProfileInfo(
                    instance, number, self._binding.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
                )
            except self._binding.NVMLError as error:
                if error.value not in (NOT_SUPPORTED, INVALID_ARGUMENT, NOT_FOUND):
                    raise

    def _compute_instances(
        self, instance: Any, number: int, uuids: dict[tuple[int, int], str]
    ) -> tuple[ComputeInstanceFound, ...]:
        found = []
        for profile in self._compute_profiles(instance):
            count = c_uint(profile.instanceCount)
            buffer = (self._binding.c_nvmlComputeInstance_t * max(count.value, 1))()
            self._binding.nvmlGpuInstanceGetComputeInstances(instance, profile.id, buffer, byref(count))
            for each in buffer[: count.value]:
                inner = int(self._binding.nvmlComputeInstanceGetInfo(each).id)
                uuid = uuids.get((number, inner), "")
                found.append(ComputeInstanceFound(id=inner, profile_id=int(profile.id), uuid=uuid))
        return tuple(sorted(found, key=lambda each: each.id))

    def _mig_uuids(self, handle: Any) -> dict[tuple[int, int], str]:
        """The UUIDs of the MIG devices by their GPU instance and compute instance."""
        ask, found = self._binding, {}
        for index in range(int(ask.nvmlDeviceGetMaxMigDeviceCount(handle))):
            try:
                mig = ask.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            except ask.NVMLError as error:
                if error.value in (NOT_FOUND, INVALID_ARGUMENT):
                    continue
                raise
            where = (int(ask.nvmlDeviceGetGpuInstanceId(mig)), int(ask.nvmlDeviceGetComputeInstanceId(mig)))
            found[where] = str(ask.nvmlDeviceGetUUID(mig))
        return found

    def _processes(self, handle: Any) -> tuple[ProcessFound, ...]:
        with self._asking("list the processes"):
            raw = [
                *self._binding.nvmlDeviceGetComputeRunningProcesses(handle),
                *self._binding.nvmlDeviceGetGraphicsRunningProcesses(handle),
            ]
        found = {
            (int(each.pid), each.gpuInstanceId, each.computeInstanceId): ProcessFound(
                pid=int(each.pid),
                name=self._process_name(int(each.pid)),
                memory=each.usedGpuMemory,
                instance=_number(each.gpuInstanceId),
                compute_instance=_number(each.computeInstanceId),
            )
            for each in raw
        }
        return tuple(found[key] for key in sorted(found))

    def _process_name(self, pid: int) -> str:
        try:
            return str(self._binding.nvmlSystemGetProcessName(pid))
        except self._binding.NVMLError:
            return ""  # it has ended meanwhile, or is another user's


def _number(value: int | None) -> int | None:
    return None if value in (None, _NOWHERE) else value
