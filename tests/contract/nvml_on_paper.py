"""A libnvidia-ml on paper: the functions of nvml.h as pynvml calls them, over a :class:`SimulatedNvml`.

It takes and fills NVIDIA's own structures, so that what :class:`LibraryNvml` hands to the library (sizes, pointers,
the order of arguments) is exercised where there is no driver. It shows nothing about how a real driver answers.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import patch

from ai_how.host.gpus import MIB, ComputeInstanceFound, GpuFound, InstanceFound, ProfileFound
from ai_how.host.nvml import INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_FOUND, NvmlError
from ai_how.host.simulated import SimulatedNvml

SUCCESS = 0
NOWHERE = 0xFFFFFFFF
#: A GPU instance has one compute instance profile here: the whole of it.
WHOLE = 0


def binding_over(nvml: SimulatedNvml) -> ModuleType:
    """A pynvml of its own, whose library is the one on paper."""
    spec = importlib.util.find_spec("pynvml")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {"pynvml": module}):  # it looks itself up while it is loaded
        spec.loader.exec_module(module)
    vars(module)["nvmlLib"] = Library(nvml, module)
    return module


def fill(reference: Any, value: Any) -> None:
    """Write through what ``byref`` gave, be it a number, a handle or a buffer of text."""
    target = getattr(reference, "_obj", reference)
    if isinstance(value, str):
        target.value = value.encode()
    elif isinstance(target, ctypes._Pointer):
        ctypes.c_void_p.from_buffer(target).value = value
    else:
        target.value = value


def number(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


class Library:
    """Handles are numbers: a device is 1 + its index, an instance 1000 * device + its number, and so on inward."""

    def __init__(self, nvml: SimulatedNvml, binding: ModuleType) -> None:
        self._nvml = nvml
        self._binding = binding

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = getattr(Functions(self._nvml, self._binding), name)

        def call(*args: Any) -> int:
            try:
                function(*args)
            except NvmlError as error:
                return error.code
            return SUCCESS

        return call


class Functions:
    """One function of nvml.h each, by its name there; a refusal is raised and becomes the return code."""

    def __init__(self, nvml: SimulatedNvml, binding: ModuleType) -> None:
        self._nvml = nvml
        self._binding = binding

    def _gpu(self, handle: Any) -> GpuFound:
        index = number(handle) - 1
        if not 0 <= index < len(self._nvml.gpus()):
            raise NvmlError("take this handle", INVALID_ARGUMENT, "Invalid Argument")
        return self._nvml.gpus()[index]

    def _instance(self, handle: Any) -> tuple[GpuFound, InstanceFound]:
        gpu = self._nvml.gpus()[number(handle) // 1000 - 1]
        return gpu, next(each for each in self._nvml.instances(gpu.uuid) if each.id == number(handle) % 1000)

    def nvmlInitWithFlags(self, flags: int) -> None: ...
    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self, text: Any, size: Any) -> None:
        fill(text, self._nvml.driver_version())

    def nvmlDeviceGetCount_v2(self, count: Any) -> None:
        fill(count, len(self._nvml.gpus()))

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> None:
        fill(handle, index.value + 1)

    def nvmlDeviceGetHandleByUUID(self, uuid: Any, handle: Any) -> None:
        gpu = self._nvml.gpu(uuid.value.decode())
        fill(handle, self._nvml.gpus().index(gpu) + 1)

    def nvmlDeviceGetIndex(self, handle: Any, index: Any) -> None:
        fill(index, number(handle) - 1)

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: Any) -> None:
        fill(text, self._gpu(handle).model)

    def nvmlDeviceGetUUID(self, handle: Any, text: Any, size: Any) -> None:
        if number(handle) < 1000:
            fill(text, self._gpu(handle).uuid)
        else:
            fill(text, self._instance(handle)[1].compute_instances[0].uuid)

    def nvmlDeviceGetPciInfo_v3(self, handle: Any, info: Any) -> None:
        info._obj.busId = f"0000{self._gpu(handle).pci_address}".upper().encode()

    def nvmlDeviceGetMemoryInfo(self, handle: Any, info: Any) -> None:
        info._obj.total = self._gpu(handle).memory

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> None:
        for target, part in zip((major, minor), self._gpu(handle).compute_capability.split("."), strict=True):
            fill(target, int(part))

    def nvmlDeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> None:
        mode = self._nvml.mig_mode(self._gpu(handle).uuid)
        if mode is None:
            raise NvmlError("tell", self._binding.NVML_ERROR_NOT_SUPPORTED, "Not Supported")
        fill(current, mode.current)
        fill(pending, mode.pending)

    def nvmlDeviceSetMigMode(self, handle: Any, mode: int, status: Any) -> None:
        self._nvml.set_mig_mode(self._gpu(handle).uuid, bool(mode))

    def nvmlDeviceGetGpuInstanceProfileInfoV(self, handle: Any, profile: int, info: Any) -> None:
        """The number asked for is one of nvml.h's list; here simply the place in the inventory."""
        assert info._obj.version == self._binding.nvmlGpuInstanceProfileInfo_v2
        profiles = self._gpu(handle).profiles
        if profile >= len(profiles):
            raise NvmlError("tell", self._binding.NVML_ERROR_NOT_SUPPORTED, "Not Supported")
        describe(profiles[profile], info._obj)

    def nvmlDeviceGetGpuInstancePossiblePlacements_v2(
        self, handle: Any, profile_id: int, placements: Any, count: Any
    ) -> None:
        profile = self._gpu(handle).profile(profile_id)
        assert profile is not None
        if placements is not None:
            assert count._obj.value >= len(profile.starts)
            for place, start in zip(placements, profile.starts, strict=False):
                place.start, place.size = start, profile.size
        fill(count, len(profile.starts))

    def nvmlDeviceGetGpuInstances(self, handle: Any, profile_id: int, found: Any, count: Any) -> None:
        gpu = self._gpu(handle)
        if gpu.mig is None or not gpu.mig.current:
            raise NvmlError("list", self._binding.NVML_ERROR_NOT_SUPPORTED, "Not Supported")
        there = [each for each in self._nvml.instances(gpu.uuid) if each.profile_id == profile_id]
        if count._obj.value < len(there):
            raise NvmlError("list", INSUFFICIENT_SIZE, "Insufficient Size")
        for index, each in enumerate(there):
            found[index] = ctypes.cast(number(handle) * 1000 + each.id, type(found[index]))
        fill(count, len(there))

    def nvmlDeviceGetGpuInstanceById(self, handle: Any, instance: int, found: Any) -> None:
        gpu = self._gpu(handle)
        if instance not in [each.id for each in self._nvml.instances(gpu.uuid)]:
            raise NvmlError("find", NOT_FOUND, "Not Found")
        fill(found, number(handle) * 1000 + instance)

    def nvmlGpuInstanceGetInfo(self, handle: Any, info: Any) -> None:
        _, instance = self._instance(handle)
        info._obj.id, info._obj.profileId = instance.id, instance.profile_id
        info._obj.placement.start, info._obj.placement.size = instance.start, instance.size

    def nvmlDeviceCreateGpuInstanceWithPlacement(
        self, handle: Any, profile_id: int, placement: Any, made: Any
    ) -> None:
        gpu, place = self._gpu(handle), placement._obj
        profile = gpu.profile(profile_id)
        assert profile is not None and place.size == profile.size
        fill(
            made, number(handle) * 1000 + self._nvml.create_gpu_instance(gpu.uuid, profile_id, place.start).id
        )

    def nvmlGpuInstanceDestroy(self, handle: Any) -> None:
        gpu, instance = self._instance(handle)
        self._nvml.destroy_gpu_instance(gpu.uuid, instance.id)

    def nvmlGpuInstanceGetComputeInstanceProfileInfoV(
        self, handle: Any, profile: int, engines: int, info: Any
    ) -> None:
        assert engines == self._binding.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
        gpu, instance = self._instance(handle)
        if profile != WHOLE:
            raise NvmlError("tell", self._binding.NVML_ERROR_NOT_SUPPORTED, "Not Supported")
        whole = gpu.profile(instance.profile_id)
        info._obj.id, info._obj.instanceCount = WHOLE, 1
        info._obj.sliceCount = whole.compute if whole else 1

    def nvmlGpuInstanceCreateComputeInstance(self, handle: Any, profile_id: int, made: Any) -> None:
        assert profile_id == WHOLE
        gpu, instance = self._instance(handle)
        inner = self._nvml.create_compute_instance(gpu.uuid, instance.id)
        fill(made, number(handle) * 1000 + inner.id)

    def nvmlGpuInstanceGetComputeInstances(
        self, handle: Any, profile_id: int, found: Any, count: Any
    ) -> None:
        inside = self._instance(handle)[1].compute_instances
        for index, each in enumerate(inside):
            found[index] = ctypes.cast(number(handle) * 1000 + each.id, type(found[index]))
        fill(count, len(inside))

    def nvmlGpuInstanceGetComputeInstanceById(self, handle: Any, inner: int, found: Any) -> None:
        if inner not in [each.id for each in self._instance(handle)[1].compute_instances]:
            raise NvmlError("find", NOT_FOUND, "Not Found")
        fill(found, number(handle) * 1000 + inner)

    def _inner(self, handle: Any) -> tuple[GpuFound, InstanceFound, ComputeInstanceFound]:
        gpu, instance = self._instance(number(handle) // 1000)
        return (
            gpu,
            instance,
            next(each for each in instance.compute_instances if each.id == number(handle) % 1000),
        )

    def nvmlComputeInstanceGetInfo_v2(self, handle: Any, info: Any) -> None:
        _, _, inner = self._inner(handle)
        info._obj.id, info._obj.profileId = inner.id, inner.profile_id

    def nvmlComputeInstanceDestroy(self, handle: Any) -> None:
        gpu, instance, inner = self._inner(handle)
        self._nvml.destroy_compute_instance(gpu.uuid, instance.id, inner.id)

    # A MIG device's handle is its GPU instance's here: there is one compute instance in each.

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, count: Any) -> None:
        fill(count, 7)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: Any, found: Any) -> None:
        gpu = self._gpu(handle)
        there = [each for each in self._nvml.instances(gpu.uuid) if each.compute_instances]
        if index.value >= len(there):
            raise NvmlError("find", NOT_FOUND, "Not Found")
        fill(found, number(handle) * 1000 + there[index.value].id)

    def nvmlDeviceGetGpuInstanceId(self, handle: Any, found: Any) -> None:
        fill(found, self._instance(handle)[1].id)

    def nvmlDeviceGetComputeInstanceId(self, handle: Any, found: Any) -> None:
        fill(found, self._instance(handle)[1].compute_instances[0].id)

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, found: Any) -> None:
        processes = self._nvml.processes(self._gpu(handle).uuid)
        if found is None:
            fill(count, len(processes))
            if processes:
                raise NvmlError("list", INSUFFICIENT_SIZE, "Insufficient Size")
            return
        for place, each in zip(found, processes, strict=False):
            place.pid, place.usedGpuMemory = each.pid, each.memory or 0
            place.gpuInstanceId = NOWHERE if each.instance is None else each.instance
            place.computeInstanceId = NOWHERE if each.compute_instance is None else each.compute_instance
        fill(count, len(processes))

    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: Any, count: Any, found: Any) -> None:
        fill(count, 0)

    def nvmlSystemGetProcessName(self, pid: Any, text: Any, size: Any) -> None:
        for gpu in self._nvml.gpus():
            for each in gpu.processes or ():
                if each.pid == pid.value:
                    fill(text, each.name)


def describe(profile: ProfileFound, info: Any) -> None:
    info.id, info.sliceCount, info.instanceCount = profile.id, profile.compute, profile.maximum
    info.multiprocessorCount, info.memorySizeMB = profile.multiprocessors, profile.memory // MIB
    info.name = f"MIG {profile.name}".encode()
