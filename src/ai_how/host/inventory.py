"""What this machine has: found, never assumed."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

# Devices that are left alone even as stand-ins: a terminal of somebody's, or a disk, is nobody's GPU.
_NEVER = ("pts", "tty", "console", "ptmx", "watchdog", "mem", "kmsg", "port")


@dataclass(frozen=True)
class Inventory:
    """The facts of this machine that decide what it can carry. Memory and disk are in bytes.

    ``devices`` are character devices that can stand in for simulated GPUs in Slurm's gres.conf;
    ``loopback_name`` tells whether the host's own name stands for 127.0.0.1.
    """

    hostname: str
    user: str
    root: bool
    cpus: int
    memory: int
    disk_free: int
    devices: tuple[Path, ...]
    loopback_name: bool = True


def take_inventory(data: Path, dev: Path = Path("/dev")) -> Inventory:
    """Look at this machine; ``data`` is the folder whose disk counts (it need not exist yet)."""
    return Inventory(
        hostname=socket.gethostname().partition(".")[0],
        user=user_name(),
        root=os.geteuid() == 0,
        cpus=len(os.sched_getaffinity(0)),
        memory=psutil.virtual_memory().total,
        disk_free=shutil.disk_usage(nearest_existing(data)).free,
        devices=stand_ins(dev.iterdir(), is_character_device),
        loopback_name=name_is_loopback(),
    )


def name_is_loopback() -> bool:
    """Whether this host's own name stands for 127.0.0.1; Debian's installer makes it 127.0.1.1."""
    try:
        return socket.gethostbyname(socket.gethostname()) == "127.0.0.1"
    except OSError:
        return False


def user_name() -> str:
    """Whose process this is; the number when the account has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.geteuid())


def nearest_existing(path: Path) -> Path:
    """``path``, or the closest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def is_character_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def stand_ins(paths: Iterable[Path], is_device: Callable[[Path], bool]) -> tuple[Path, ...]:
    """Devices that can stand in for GPUs: numbered consoles first, which every Linux has, then others.

    Slurm only looks whether the file is a character device; nothing ever opens it.
    """

    def numbered(path: Path) -> bool:
        return path.name.startswith("tty") and path.name[3:].isdigit() and path.name != "tty0"

    known = list(paths)
    consoles = sorted((p for p in known if numbered(p)), key=lambda p: int(p.name[3:]))
    others = sorted(p for p in known if not numbered(p) and not p.name.startswith(_NEVER))
    return tuple(path for path in (*consoles, *others) if is_device(path))
