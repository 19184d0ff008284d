"""The hardware as /sys and /proc show it. ``sys`` and ``proc`` stand for them, so that recorded trees can be read too.

A function returns None when its part of the tree cannot be read: nobody could tell, which is not the same as none.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ai_how.host.machine import Cpus, Disk, NumaNode, PciDevice, Route

KIB_A_GIB = 2**20
SECTORS_A_GIB = 2**21  # /sys/block counts in sectors of 512 bytes, whatever the disk's own are
_FLAGS = ("vmx", "svm", "hypervisor")
_NO_DISK = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd")


def read(path: Path) -> str | None:
    """The text of a small file of the kernel's, stripped; None when it is not there or not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def entries(folder: Path) -> list[Path] | None:
    """What a folder holds, in order; None when it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return None


def cpus(proc: Path, usable: int | None = None) -> Cpus | None:
    """The processors by /proc/cpuinfo; on architectures that name no cores there, each CPU is taken for one."""
    text = read(proc / "cpuinfo")
    blocks = [_colons(block.splitlines()) for block in re.split(r"\n\s*\n", text or "")]
    blocks = [block for block in blocks if "processor" in block]
    if not blocks:
        return None
    cores = {(block.get("physical id", "0"), block.get("core id", block["processor"])) for block in blocks}
    flags = set.intersection(*(set(block.get("flags", "").split()) for block in blocks))
    return Cpus(
        model=blocks[0].get("model name", ""),
        sockets=len({socket for socket, _ in cores}),
        cores=len(cores),
        threads=len(blocks),
        usable=usable,
        flags=tuple(flag for flag in _FLAGS if flag in flags),
    )


def memory_gb(proc: Path) -> float | None:
    """Memory by /proc/meminfo, in GiB."""
    return _memory(read(proc / "meminfo"))


def numa_nodes(sys: Path) -> tuple[NumaNode, ...] | None:
    """NUMA nodes with their CPUs and their memory."""
    found = entries(sys / "devices/system/node")
    if found is None:
        return None
    nodes = [path for path in found if re.fullmatch(r"node\d+", path.name)]
    return tuple(
        NumaNode(
            id=int(path.name[4:]),
            cpus=read(path / "cpulist") or "",
            memory_gb=_memory(read(path / "meminfo")) or 0.0,
        )
        for path in sorted(nodes, key=lambda path: int(path.name[4:]))
    )


def disks(sys: Path) -> tuple[Disk, ...] | None:
    """Whole disks, by /sys/block; what is made of other disks or of memory is none."""
    found = entries(sys / "block")
    if found is None:
        return None
    return tuple(
        Disk(
            name=path.name,
            size_gb=round(int(read(path / "size") or 0) / SECTORS_A_GIB, 1),
            rotational=read(path / "queue/rotational") == "1",
        )
        for path in found
        if not path.name.startswith(_NO_DISK)
    )


def pci_devices(sys: Path) -> tuple[PciDevice, ...] | None:
    """Every PCI device with its driver, its IOMMU group and its NUMA node."""
    found = entries(sys / "bus/pci/devices")
    return None if found is None else tuple(_pci_device(path) for path in found)


def iommu_groups(sys: Path) -> int | None:
    """How many IOMMU groups there are: none where the IOMMU is off or missing."""
    if not (sys / "kernel").is_dir():
        return None
    return len(entries(sys / "kernel/iommu_groups") or ())


def modules(sys: Path, names: Iterable[str]) -> tuple[str, ...] | None:
    """Which of the modules ``names`` are loaded or built in."""
    if not (sys / "module").is_dir():
        return None
    return tuple(name for name in names if (sys / "module" / name).is_dir())


def nested(sys: Path) -> bool | None:
    """Whether KVM lets guests run guests; None where neither of its modules says."""
    for module in ("kvm_intel", "kvm_amd"):
        if text := read(sys / "module" / module / "parameters/nested"):
            return text in ("Y", "1")
    return None


def routes(proc: Path) -> tuple[Route, ...] | None:
    """The IPv4 routes of the host that are up, by /proc/net/route, in its order."""
    text = read(proc / "net/route")
    if text is None:
        return None
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        # Flags: 1 is RTF_UP (linux/route.h).
        if len(words) < 8 or not int(words[3], 16) & 1:
            continue
        network = ipaddress.ip_network(f"{_address(words[1])}/{_address(words[7])}", strict=False)
        gateway = _address(words[2])
        found.append(
            Route(network=str(network), interface=words[0], gateway="" if gateway == "0.0.0.0" else gateway)
        )
    return tuple(found)


def _pci_device(path: Path) -> PciDevice:
    numa = read(path / "numa_node")
    group = _link(path / "iommu_group")
    return PciDevice(
        address=path.name,
        vendor=_hexadecimal(read(path / "vendor")),
        device=_hexadecimal(read(path / "device")),
        kind=_hexadecimal(read(path / "class"))[:4],
        driver=_link(path / "driver"),
        iommu_group=int(group) if group and group.isdigit() else None,
        # The kernel writes -1 where a device hangs on no node.
        numa_node=int(numa) if numa and numa.isdigit() else None,
    )


def _hexadecimal(text: str | None) -> str:
    return (text or "").removeprefix("0x").lower()


def _link(path: Path) -> str | None:
    """The last part of where a link leads: the name of the driver, the number of the group."""
    try:
        return path.readlink().name
    except OSError:
        return None


def _address(text: str) -> str:
    """An IPv4 address from the kernel's hexadecimal, which is in the byte order of the machine."""
    return str(ipaddress.ip_address(bytes.fromhex(text)[::-1]))


def _colons(lines: Iterable[str]) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _memory(text: str | None) -> float | None:
    found = re.search(r"MemTotal:\s+(\d+) kB", text or "")
    return round(int(found[1]) / KIB_A_GIB, 1) if found else None
