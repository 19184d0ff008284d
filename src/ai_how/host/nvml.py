"""NVML behind a small Protocol: what is read from NVIDIA's driver, and what may be changed through it.

Devices are named by their UUID, GPU instances and compute instances by their numbers, so that nothing outside this
room holds a pointer of the library. :class:`LibraryNvml` asks the driver, :class:`ai_how.host.simulated.SimulatedNvml`
an inventory; both keep the same contract.
"""

from __future__ import annotations

from typing import Protocol

from ai_how.errors import CommandFailed
from ai_how.host.gpus import ComputeInstanceFound, GpuFound, InstanceFound, MigMode, ProcessFound

#: NVML's own numbers (nvml.h, ``nvmlReturn_t``) for the refusals that are told apart here.
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
IN_USE = 19
INSUFFICIENT_RESOURCES = 23


class NvmlError(CommandFailed):
    """NVML refused; ``code`` is its number (``nvmlReturn_t``), ``cause`` its own words."""

    def __init__(self, what: str, code: int, words: str, *, todo: str | None = None) -> None:
        super().__init__(f"NVML refused to {what}", where="NVML", cause=f"{words} (NVML {code})", todo=todo)
        self.code = code


class Nvml(Protocol):
    """What AI-HOW asks of NVIDIA's driver. ``device`` is a UUID; everything may raise :class:`NvmlError`.

    An implementation is opened before its first use and closed after its last.
    """

    def open(self) -> None:
        """Begin. Raises with ``LIBRARY_NOT_FOUND`` or ``DRIVER_NOT_LOADED`` where there is no driver to ask."""

    def close(self) -> None:
        """End; harmless when it was never opened."""

    # Reading.

    def driver_version(self) -> str:
        """The version of the driver, such as ``550.54.15``."""

    def gpus(self) -> tuple[GpuFound, ...]:
        """Every device in NVML's order, with all that can be told about it."""

    def gpu(self, device: str) -> GpuFound:
        """One device, looked at anew; raises with ``NOT_FOUND`` for an unknown UUID."""

    def mig_mode(self, device: str) -> MigMode | None:
        """The state of MIG; None for a device that cannot do it."""

    def instances(self, device: str) -> tuple[InstanceFound, ...]:
        """The GPU instances that exist, by start; none where MIG is off.

        Raises with ``NO_PERMISSION`` for whoever may not see them.
        """

    def processes(self, device: str) -> tuple[ProcessFound, ...]:
        """What runs on the device and on its instances now."""

    # Changing. A caller looks first whether anything runs there: NVML refuses with IN_USE, but only sometimes.

    def set_mig_mode(self, device: str, enabled: bool) -> MigMode:
        """Switch MIG on or off; gives the mode after it. ``pending`` differs where the device needs a reset."""

    def create_gpu_instance(self, device: str, profile_id: int, start: int) -> InstanceFound:
        """Make a GPU instance at that memory slice; raises with ``INSUFFICIENT_RESOURCES`` where it is taken."""

    def destroy_gpu_instance(self, device: str, instance: int) -> None:
        """Remove a GPU instance; raises with ``IN_USE`` while compute instances or processes are in it."""

    def create_compute_instance(self, device: str, instance: int) -> ComputeInstanceFound:
        """Make the one compute instance that takes the whole of a GPU instance."""

    def destroy_compute_instance(self, device: str, instance: int, compute_instance: int) -> None:
        """Remove a compute instance; raises with ``IN_USE`` while a process runs on it."""
