"""The operating system as it is for whoever runs this: groups, limits, control groups, names, daemons."""

from __future__ import annotations

import ctypes
import grp
import os
import resource
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import psutil

from ai_how.host.hardware import modules, nested, read
from ai_how.host.machine import UNLIMITED, Limits, System

GIB = 2**30
MODULES = ("kvm", "kvm_intel", "kvm_amd", "vfio_pci", "nouveau", "nvidia", "nvidia_vgpu_vfio", "mdev")
#: Daemons that a system may run for itself and that somebody who reads the doctor should know of.
DAEMONS = (
    "slurmctld", "slurmd", "slurmdbd", "munged", "libvirtd", "virtqemud", "containerd", "dockerd", "kubelet",
    "mariadbd", "mysqld", "postgres", "supervisord", "nvidia-persistenced", "nv-hostengine", "chronyd", "ntpd",
)  # fmt: skip
#: Programs that providers need and the catalogue does not hold, because nothing here installs them.
PROGRAMS = (
    "virsh",
    "libvirtd",
    "virtqemud",
    "qemu-system-x86_64",
    "qemu-img",
    "ssh",
    "nvidia-smi",
    "kubectl",
)
APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
#: What the processes of a site carry in their environment, by the local provider.
SITE_MARK = "AI_HOW_SITE"
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def system(sys: Path, proc: Path, dev: Path) -> System:
    """All of it, from the kernel's trees and this process; ``sys``, ``proc`` and ``dev`` stand for theirs."""
    return System(
        root=os.geteuid() == 0,
        groups=groups(),
        modules=modules(sys, MODULES),
        kvm=kvm(dev),
        nested=nested(sys),
        cgroup=cgroup(sys),
        limits=limits(),
        shared_memory_gb=shared_memory_gb(dev),
        user_namespaces=user_namespaces(proc),
        clock_synchronised=clock_synchronised(),
        own_address=own_address(),
        daemons=daemons(),
        programs=tuple(name for name in PROGRAMS if shutil.which(name)),
    )


def groups() -> tuple[str, ...]:
    """The names of this process's groups; a number where a group has no name."""

    def name(number: int) -> str:
        try:
            return grp.getgrgid(number).gr_name
        except KeyError:
            return str(number)

    return tuple(sorted({name(number) for number in (os.getegid(), *os.getgroups())}))


def kvm(dev: Path) -> Literal["absent", "closed", "open"]:
    """Whether /dev/kvm is there and may be opened. That it opens does not show that a guest boots."""
    device = dev / "kvm"
    if not device.exists():
        return "absent"
    return "open" if os.access(device, os.R_OK | os.W_OK) else "closed"


def cgroup(sys: Path) -> Literal["v1", "hybrid", "v2"] | None:
    """The mode of control groups, by what is mounted: v2 alone, v1 with v2 beside it, or v1."""
    folder = sys / "fs/cgroup"
    if (folder / "cgroup.controllers").is_file():
        return "v2"
    if (folder / "unified/cgroup.controllers").is_file() or (folder / "unified/cgroup.procs").is_file():
        return "hybrid"
    return "v1" if (folder / "memory").is_dir() or (folder / "cpu").is_dir() else None


def limits() -> Limits:
    """The soft limits of this process."""

    def soft(which: int) -> int:
        value = resource.getrlimit(which)[0]
        return UNLIMITED if value == resource.RLIM_INFINITY else value

    return Limits(
        nofile=soft(resource.RLIMIT_NOFILE),
        nproc=soft(resource.RLIMIT_NPROC),
        memlock=soft(resource.RLIMIT_MEMLOCK),
    )


def shared_memory_gb(dev: Path) -> float | None:
    """The size of /dev/shm in GiB; 0 where there is none."""
    folder = dev / "shm"
    try:
        return round(shutil.disk_usage(folder).total / GIB, 2) if folder.is_dir() else 0.0
    except OSError:
        return None


def user_namespaces(proc: Path) -> str | None:
    """``open`` when an ordinary user may make user namespaces, else the setting of the kernel that closes them."""
    most = read(proc / "sys/user/max_user_namespaces")
    if most is None:
        return None
    closed = {
        "user.max_user_namespaces": most == "0",
        "kernel.unprivileged_userns_clone": read(proc / "sys/kernel/unprivileged_userns_clone") == "0",
        APPARMOR: read(proc / "sys" / APPARMOR.replace(".", "/")) == "1",
    }
    return next((setting for setting, shut in closed.items() if shut), "open")


def clock_synchronised() -> bool | None:
    """What the kernel says of its clock (adjtimex(2)); None where it cannot be asked."""
    try:
        # struct timex has 208 bytes on 64-bit Linux; zeros ask and change nothing.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def own_address() -> str:
    """What the host's own name resolves to; empty when it resolves to nothing."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""


def daemons(names: Iterable[str] = DAEMONS) -> tuple[str, ...]:
    """Which of ``names`` run on this machine for the machine itself: those of AI-HOW's sites carry a mark."""
    wanted = set(names)
    running = (process for process in psutil.process_iter(["name"]) if process.info["name"] in wanted)
    return tuple(sorted({process.info["name"] for process in running if not _of_a_site(process)}))


def _of_a_site(process: psutil.Process) -> bool:
    try:
        return SITE_MARK in process.environ()
    except (psutil.Error, OSError):
        return False  # another user's: nobody's site that could be meant here
