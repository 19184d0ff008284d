"""What ``nvidia-smi`` prints, as the types of :mod:`ai_how.host.gpus`. Pure text in.

It is asked where NVML's library cannot be loaded by this Python (a container that mounts the program alone, say).
Its tables are made for people: what a line does not say stays empty.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from ai_how.host.gpus import (
    MIB,
    GpuFound,
    InstanceFound,
    MigMode,
    ProcessFound,
    ProfileFound,
    name_of,
    pci_address,
)

FIELDS = (
    "index",
    "name",
    "uuid",
    "pci.bus_id",
    "memory.total",
    "driver_version",
    "compute_cap",
    "mig.mode.current",
    "mig.mode.pending",
)
#: Arguments for each question; the answers go to the functions of this module.
DEVICES = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")
PROCESSES = (
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory",
    "--format=csv,noheader,nounits",
)
PROFILES = ("nvidia-smi", "mig", "-lgip")
PLACEMENTS = ("nvidia-smi", "mig", "-lgipp")
INSTANCES = ("nvidia-smi", "mig", "-lgi")

# |   0  MIG 1g.10gb          19     7/7        9.50       No     14     0     0   |
_PROFILE = re.compile(r"^\|\s+(\d+)\s+MIG (\S+)\s+(\d+)\s+\d+/(\d+)\s+([\d.]+)\s+\S+\s+(\d+)")
# GPU  0 Profile ID 19 Placements: {0,1,2,3,4,5,6}:1
# GPU  0 Profile ID  0 Placement : {0}:8
_PLACEMENT = re.compile(r"GPU\s+(\d+)\s+Profile ID\s+(\d+)\s+Placements?\s*:\s*\{([\d,\s]*)\}:(\d+)")
# |   0  MIG 1g.10gb         19        9          2:1     |
_INSTANCE = re.compile(r"^\|\s+(\d+)\s+MIG (\S+)\s+(\d+)\s+(\d+)\s+(\d+):(\d+)\s+\|")


def parse_devices(text: str) -> tuple[tuple[GpuFound, ...], str | None]:
    """The devices without their MIG tables, and the driver's version."""
    devices, driver = [], None
    for row in _rows(text, len(FIELDS)):
        facts = dict(zip(FIELDS, row, strict=True))
        driver = facts["driver_version"]
        current, pending = facts["mig.mode.current"], facts["mig.mode.pending"]
        mig = None
        if current in ("Enabled", "Disabled"):
            mig = MigMode(current=current == "Enabled", pending=pending == "Enabled")
        total = facts["memory.total"]
        devices.append(
            GpuFound(
                model=facts["name"],
                index=int(facts["index"]),
                uuid=facts["uuid"],
                pci_address=pci_address(facts["pci.bus_id"]),
                memory=int(float(total)) * MIB if re.fullmatch(r"[\d.]+", total) else 0,
                compute_capability=facts["compute_cap"],
                mig=mig,
            )
        )
    return tuple(devices), driver


def parse_profiles(profiles: str, placements: str, device: int) -> tuple[ProfileFound, ...]:
    """The MIG profiles of one device from ``-lgip`` and ``-lgipp``."""
    where = {
        int(found[2]): (int(found[4]), tuple(sorted(int(start) for start in re.findall(r"\d+", found[3]))))
        for found in _PLACEMENT.finditer(placements)
        if int(found[1]) == device
    }
    found = []
    for match in _matches(_PROFILE, profiles):
        if int(match[1]) != device:
            continue
        name, number = match[2], int(match[3])
        size, starts = where.get(number, (0, ()))
        compute = re.match(r"(\d+)g\.", name)
        found.append(
            ProfileFound(
                id=number,
                name=name,
                compute=int(compute[1]) if compute else 1,
                memory=round(float(match[5]) * 1024) * MIB,
                maximum=int(match[4]),
                size=size,
                starts=starts,
                multiprocessors=int(match[6]),
                media="+me" in name,
            )
        )
    return tuple(sorted(found, key=lambda profile: (profile.compute, profile.memory, profile.name)))


def parse_instances(text: str, device: int, profiles: tuple[ProfileFound, ...]) -> tuple[InstanceFound, ...]:
    """The GPU instances of one device from ``-lgi``; their compute instances are not in that table."""
    found = [
        InstanceFound(
            id=int(match[4]),
            profile_id=int(match[3]),
            profile=name_of(profiles, int(match[3])) if profiles else match[2],
            start=int(match[5]),
            size=int(match[6]),
        )
        for match in _matches(_INSTANCE, text)
        if int(match[1]) == device
    ]
    return tuple(sorted(found, key=lambda instance: instance.start))


def parse_processes(text: str, uuid: str) -> tuple[ProcessFound, ...]:
    """The processes on one device; nvidia-smi does not say on which instance they run."""
    found = [
        ProcessFound(pid=int(pid), name=name, memory=int(memory) * MIB if memory.isdigit() else None)
        for device, pid, name, memory in _rows(text, 4)
        if device == uuid and pid.isdigit()
    ]
    return tuple(sorted(found, key=lambda process: process.pid))


def _rows(text: str, width: int) -> Iterator[list[str]]:
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) == width:
            yield [cell.strip() for cell in row]


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    for line in text.splitlines():
        if (found := pattern.match(line)) is not None:
            yield found
