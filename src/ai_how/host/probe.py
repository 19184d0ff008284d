"""Look at this machine, all of it; change nothing. What cannot be told is left out, with the reason."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from pathlib import Path

from ai_how.host import hardware, nvidia
from ai_how.host.distribution import this_distribution
from ai_how.host.inventory import nearest_existing
from ai_how.host.machine import Machine
from ai_how.host.nvml import Nvml
from ai_how.host.nvml_library import LibraryNvml
from ai_how.host.system import GIB, system
from ai_how.run import Gate

SYS, PROC, DEV = Path("/sys"), Path("/proc"), Path("/dev")


def probe(
    gate: Gate,
    data: Path,
    *,
    nvml: Nvml | None = None,
    sys: Path = SYS,
    proc: Path = PROC,
    dev: Path = DEV,
) -> Machine:
    """The machine as it is. ``data`` is the folder whose disk counts (it need not exist yet).

    ``sys``, ``proc`` and ``dev`` stand for the kernel's trees, so that recorded ones can be read; ``nvml`` is the
    driver's library unless a test hands in its own.
    """
    distribution = this_distribution()
    told = nvidia.ask(nvml or LibraryNvml(), gate)
    machine = Machine(
        inventory="1.0",
        origin="found",
        hostname=socket.gethostname().partition(".")[0],
        distribution=distribution.name,
        release=distribution.release,
        family=distribution.family,
        kernel=platform.release(),
        architecture=platform.machine(),
        cpus=hardware.cpus(proc, len(os.sched_getaffinity(0))),
        memory_gb=hardware.memory_gb(proc),
        disk_free_gb=round(shutil.disk_usage(nearest_existing(data)).free / GIB, 1),
        disks=hardware.disks(sys),
        numa_nodes=hardware.numa_nodes(sys),
        pci_devices=hardware.pci_devices(sys),
        iommu_groups=hardware.iommu_groups(sys),
        routes=hardware.routes(proc),
        driver=told.driver,
        system=system(sys, proc, dev),
        could_not_tell={} if told.gpus is not None else {"gpus": told.reason},
        gpus=told.gpus,
    )
    # Where PCI shows none and no driver is there to ask, that is an answer: none.
    none = told.absent and machine.nvidia_on_pci == ()
    return machine.model_copy(update={"gpus": (), "could_not_tell": {}}) if none else machine
