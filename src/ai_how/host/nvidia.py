"""What is known about NVIDIA's GPUs, and from whom: NVML first, nvidia-smi where it cannot be asked, PCI beside both.

That there is none is an answer of its own, and so is that nobody could tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ai_how.errors import AiHowError, MissingProgram
from ai_how.host import nvidia_smi
from ai_how.host.gpus import GpuFound
from ai_how.host.machine import Machine
from ai_how.host.nvml import DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, Nvml, NvmlError
from ai_how.run import Command, Gate

#: ``found``; ``none``: this machine has no NVIDIA GPU; ``no driver``: PCI shows one that no driver answers for;
#: ``could not tell``: neither the driver nor PCI could be asked.
Outcome = Literal["found", "none", "no driver", "could not tell"]
#: nvidia-smi wakes a sleeping driver, which takes seconds where nothing keeps it awake. In seconds.
PATIENCE = 30.0


@dataclass(frozen=True)
class Answer:
    """Whether there are NVIDIA GPUs, in one word and in a sentence."""

    outcome: Outcome
    why: str


@dataclass(frozen=True)
class Told:
    """What the driver told: ``gpus`` is None when it could not be asked, and ``reason`` says why."""

    gpus: tuple[GpuFound, ...] | None
    driver: str | None = None
    reason: str = ""
    #: Whether there was no driver to ask, as opposed to one that did not answer.
    absent: bool = False


def answer(machine: Machine) -> Answer:
    """Which of the four it is. Pure."""
    on_pci = machine.nvidia_on_pci
    reason = machine.could_not_tell.get("gpus", "the driver could not be asked")
    if machine.gpus:
        names = counted(gpu.model for gpu in machine.gpus)
        return Answer("found", names + (f" (driver {machine.driver})" if machine.driver else ""))
    if on_pci:
        where = ", ".join(_on_pci(device.address, device.driver) for device in on_pci)
        return Answer("no driver", f"PCI shows an NVIDIA GPU at {where}, but {reason}")
    if machine.gpus is not None:
        return Answer(
            "none", "no NVIDIA device: " + ("PCI shows none" if on_pci == () else "the driver has none")
        )
    if on_pci == ():
        return Answer("none", "no NVIDIA device: PCI shows none")
    return Answer("could not tell", f"PCI could not be read, and {reason}")


def counted(words: Iterable[str]) -> str:
    """``2 x this, 1 x that``: what is there several times is named once."""
    return ", ".join(f"{count} x {word}" for word, count in Counter(words).items())


def _on_pci(address: str, driver: str | None) -> str:
    return f"{address} (held by {driver})" if driver else address


def ask(nvml: Nvml, gate: Gate) -> Told:
    """Ask NVML, then nvidia-smi. A refusal is a reason, not an error."""
    try:
        nvml.open()
    except NvmlError as error:
        told = ask_nvidia_smi(gate)
        if told.gpus is not None:
            return told
        absent = error.code == DRIVER_NOT_LOADED or (error.code == LIBRARY_NOT_FOUND and told.absent)
        return Told(None, reason=f"NVML says: {error.cause}", absent=absent)
    try:
        return Told(nvml.gpus(), nvml.driver_version())
    except NvmlError as error:
        return Told(None, reason=f"NVML says: {error.cause}")
    finally:
        nvml.close()


def ask_nvidia_smi(gate: Gate) -> Told:
    """The same by the program; without it there is nobody to ask."""
    try:
        devices, driver = nvidia_smi.parse_devices(_run(gate, nvidia_smi.DEVICES))
    except (AiHowError, OSError) as error:
        return Told(None, reason=str(error), absent=isinstance(error, MissingProgram))
    return Told(tuple(_complete(gate, gpu) for gpu in devices), driver)


def _complete(gate: Gate, gpu: GpuFound) -> GpuFound:
    """Its MIG tables and its processes; what is refused is left out, with the reason."""
    silent: dict[str, str] = {}

    def told(fact: str, argv: tuple[str, ...]) -> str | None:
        try:
            return _run(gate, argv)
        except (AiHowError, OSError) as error:
            silent[fact] = f"nvidia-smi: {error}"
            return None

    profiles, instances = gpu.profiles, gpu.instances
    if gpu.mig is not None:
        tables = told("profiles", nvidia_smi.PROFILES) or ""
        profiles = nvidia_smi.parse_profiles(
            tables, told("placements", nvidia_smi.PLACEMENTS) or "", gpu.index
        )
        if gpu.mig.current:
            text = told("instances", nvidia_smi.INSTANCES)
            instances = None if text is None else nvidia_smi.parse_instances(text, gpu.index, profiles)
    running = told("processes", nvidia_smi.PROCESSES)
    processes = None if running is None else nvidia_smi.parse_processes(running, gpu.uuid)
    return gpu.model_copy(
        update={
            "profiles": profiles,
            "instances": instances,
            "processes": processes,
            "could_not_tell": silent,
        }
    )


def _run(gate: Gate, argv: tuple[str, ...]) -> str:
    return gate.run(Command(argv, env={"LC_ALL": "C.UTF-8"}, timeout=PATIENCE)).stdout
