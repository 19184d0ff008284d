"""The checks of every machine that carries a site's processes: room, limits, names, programs, GPUs. Pure."""

from __future__ import annotations

from ai_how.host.checks import (
    Check,
    Facts,
    Judge,
    Needs,
    Result,
    failure,
    listed,
    ok,
    plural,
    unknown,
    warning,
)
from ai_how.host.machine import UNLIMITED
from ai_how.host.nvidia import answer, counted

#: A laptop's site with MLflow, two databases, four nodes and a training is at ease from here on. In GiB.
MEMORY_AT_EASE = 4.0
#: Less is no place for a site; with the runtime environments and a few models it wants more. In GiB.
DISK_LEAST, DISK_AT_EASE = 2.0, 15.0
#: PostgreSQL and PyTorch's loaders pass data through /dev/shm; containers often have 64 MiB of it. In GiB.
SHARED_MEMORY_AT_EASE = 0.25
#: A gateway or a database opens a file for each connection; the daemons of a site are dozens of processes.
FILES_AT_EASE, PROCESSES_AT_EASE = 1024, 512
#: Settings that close user namespaces to everybody, and the value that opens them.
_CLOSED_BY = {"user.max_user_namespaces": 15000, "kernel.unprivileged_userns_clone": 1}
_BLACKLIST = "echo 'blacklist nouveau' | sudo tee /etc/modprobe.d/no-nouveau.conf && "
_INITRAMFS = {"fedora": "sudo dracut --force", "suse": "sudo dracut --force", "arch": "sudo mkinitcpio -P"}


def cores(facts: Facts, needs: Needs) -> Check | None:
    cpus = facts.machine.cpus
    if cpus is None:
        return unknown("cores", "nobody could tell how many CPUs there are")
    usable = cpus.usable or cpus.threads
    parts = ((cpus.sockets, "socket"), (cpus.cores, "core"), (cpus.threads, "thread"))
    why = f"{plural(usable, 'CPU')} of " + ", ".join(plural(count, word) for count, word in parts)
    if usable < needs.cpu_cores:
        return warning(
            "cores", f"{usable} CPUs are here, the virtual machines have {needs.cpu_cores}: they share them"
        )
    if usable < 2:
        return warning("cores", f"{why}; a site's daemons and its jobs take turns on it")
    return ok("cores", why)


def memory(facts: Facts, needs: Needs) -> Check | None:
    size = facts.machine.memory_gb
    if size is None:
        return unknown("memory", "nobody could tell how much memory there is")
    if size < needs.memory_gb:
        return failure("memory", f"{size:.0f} GiB are here, the virtual machines take {needs.memory_gb} GiB")
    if size < MEMORY_AT_EASE:
        return warning("memory", f"{size:.1f} GiB; below {MEMORY_AT_EASE:.0f} GiB trainings run out of it")
    return ok("memory", f"{size:.0f} GiB")


def disk(facts: Facts, needs: Needs) -> Check | None:
    free = facts.machine.disk_free_gb
    if free is None:
        return unknown("disk", "nobody could tell how much space is free")
    if free < DISK_LEAST:
        return failure("disk", f"{free:.1f} GiB are free, a site needs {DISK_LEAST:.0f} GiB to begin with")
    if free < needs.disk_gb:
        return warning(
            "disk", f"{free:.0f} GiB are free, the virtual machines' disks grow to {needs.disk_gb} GiB"
        )
    if free < DISK_AT_EASE:
        return warning(
            "disk",
            f"{free:.1f} GiB are free; all runtime environments and a few models take {DISK_AT_EASE:.0f} GiB",
        )
    return ok("disk", f"{free:.0f} GiB are free")


def shared_memory(facts: Facts, needs: Needs) -> Check | None:
    size = facts.machine.system.shared_memory_gb
    mend = "sudo mount -t tmpfs -o size=2g tmpfs /dev/shm"
    if size is None:
        return unknown("shared-memory", "nobody could tell how large /dev/shm is")
    if size == 0:
        return failure("shared-memory", "there is no /dev/shm, and PostgreSQL does not start without", mend)
    if size < SHARED_MEMORY_AT_EASE:
        why = f"/dev/shm has {size * 1024:.0f} MiB; PyTorch's loaders run out of it"
        return warning("shared-memory", why, "sudo mount -o remount,size=2g /dev/shm")
    return ok("shared-memory", f"/dev/shm has {size:.1f} GiB")


def limits(facts: Facts, needs: Needs) -> Check | None:
    found = facts.machine.system.limits
    if found is None:
        return unknown("limits", "nobody could tell the limits of your processes")
    few = [
        (f"{value} {what}", command)
        for what, value, enough, command in (
            ("open files", found.nofile, FILES_AT_EASE, f"ulimit -n {FILES_AT_EASE}"),
            ("processes", found.nproc, PROCESSES_AT_EASE, "ulimit -u unlimited"),
        )
        if value != UNLIMITED and value < enough
    ]
    if few:
        words, commands = zip(*few, strict=True)
        return warning("limits", f"your processes may have {listed(words)} only", " && ".join(commands))
    return ok("limits", f"{_many(found.nofile)} open files, {_many(found.nproc)} processes")


def _many(value: int) -> str:
    return "unlimited" if value == UNLIMITED else str(value)


def host_name(facts: Facts, needs: Needs) -> Check | None:
    address, name = facts.machine.system.own_address, facts.machine.hostname or "the host's name"
    # At the top: of several lines for a name the first counts, and Debian's installer writes one.
    mend = f"sudo sed -i '1i 127.0.0.1 {name}' /etc/hosts"
    if address is None:
        return unknown("host-name", "nobody could tell what the host's own name resolves to")
    if not address:
        return warning("host-name", f"{name} resolves to nothing; Slurm's daemons look it up", mend)
    if address != "127.0.0.1":
        why = (
            f"{name} resolves to {address}: Slurm's daemons listen on every interface "
            "(they answer only to the site's own key)"
        )
        return warning("host-name", why, mend)
    return ok("host-name", f"{name} resolves to {address}")


def programs(facts: Facts, needs: Needs) -> Check | None:
    """Missing ones are no warning where `up` gets them: only Debian's family lets it."""
    if facts.missing is None:
        return None
    if not facts.missing:
        return ok("programs", "every program that a site runs is here")
    count = plural(len(facts.missing), "program")
    if facts.family == "debian":
        means = "with apt" if facts.machine.system.root else "into your data folder"
        return ok("programs", f"{count} not here yet; `ai-how up` gets what is missing {means}")
    return failure("programs", f"{count} missing: {', '.join(facts.missing)}", facts.command)


def gpus(facts: Facts, needs: Needs) -> Check | None:
    found = answer(facts.machine)
    if found.outcome == "no driver":
        why = f"{found.why}: what runs here runs on the CPUs"
        return warning("gpus", why, _install_driver(facts))
    missing = [
        f"{name} ({address})"
        for address, name in needs.devices.items()
        if facts.machine.gpus is not None and address not in {gpu.pci_address for gpu in facts.machine.gpus}
    ]
    if missing and needs.providers - {"local"}:
        return failure("gpus", f"the file lists {listed(missing)}, and there is none such; {found.why}")
    if found.outcome == "could not tell":
        # With simulated devices nothing depends on it.
        only_local = needs.providers == {"local"}
        return (
            ok("gpus", f"simulated devices only; {found.why}") if only_local else unknown("gpus", found.why)
        )
    if found.outcome == "none":
        return ok("gpus", f"{found.why}; Slurm's can be simulated")
    return ok("gpus", found.why)


def _install_driver(facts: Facts) -> str | None:
    if "nouveau" in (facts.machine.system.modules or ()):
        return None  # said by the check of nouveau
    return {
        "debian": "sudo apt-get install nvidia-driver",
        "fedora": "sudo dnf install akmod-nvidia",
        "suse": "sudo zypper install nvidia-open-driver-G06-signed-kmp-default",
        "arch": "sudo pacman -S nvidia",
    }.get(facts.family)


def nouveau(facts: Facts, needs: Needs) -> Check | None:
    """Only where there is an NVIDIA GPU: nouveau keeps NVIDIA's driver, and a guest, from it."""
    loaded, on_pci = facts.machine.system.modules, facts.machine.nvidia_on_pci
    if not on_pci:
        return None
    if loaded is None:
        return unknown("nouveau", "nobody could tell which kernel modules are loaded")
    if "nouveau" in loaded:
        # A site of processes runs without the GPU; a guest cannot be given what the host holds.
        result = Result.WARNING if needs.providers == {"local"} else Result.FAILURE
        why = (
            "the kernel module nouveau holds the NVIDIA GPU: neither NVIDIA's driver nor a guest can have it"
        )
        rebuild = _INITRAMFS.get(facts.family, "sudo update-initramfs -u")
        return Check("nouveau", result, why, f"{_BLACKLIST}{rebuild} && sudo reboot")
    return ok("nouveau", "nouveau is not loaded")


def mig(facts: Facts, needs: Needs) -> Check | None:
    """Whether the real GPUs can be partitioned; simulated ones always can."""
    if not facts.machine.gpus:
        return None
    words = []
    for gpu in facts.machine.gpus:
        if gpu.mig is None:
            words.append(f"{gpu.model} cannot")
        elif gpu.mig.current != gpu.mig.pending:
            return warning(
                "mig",
                f"{gpu.model} at {gpu.pci_address}: MIG is {_on(gpu.mig.current)} and will be "
                f"{_on(gpu.mig.pending)} after a reset",
                f"sudo nvidia-smi --gpu-reset -i {gpu.index}",
            )
        else:
            words.append(f"{gpu.model} {_on(gpu.mig.current)}")
    return ok("mig", "MIG: " + counted(words))


def _on(state: bool) -> str:
    return "on" if state else "off"


def ports(facts: Facts, needs: Needs) -> Check | None:
    if not needs.ports:
        return None  # ports that nobody asked for are chosen among the free ones
    if facts.taken is None:
        return unknown("ports", "nobody looked which ports are taken")
    held = [
        f"{port} ({name}) is taken by {facts.taken[port]}"
        for port, name in needs.ports.items()
        if port in facts.taken
    ]
    if held:
        return failure("ports", "; ".join(f"port {text}" for text in held))
    return ok(
        "ports",
        f"{plural(len(needs.ports), 'port')} of the file {'is' if len(needs.ports) == 1 else 'are'} free",
    )


def user_namespaces(facts: Facts, needs: Needs) -> Check | None:
    state = facts.machine.system.user_namespaces
    if state in _CLOSED_BY:
        why = f"user namespaces are closed by {state}: jobs cannot use containers without root"
        return warning("user-namespaces", why, f"sudo sysctl {state}={_CLOSED_BY[state]}")
    if state is None or state == "open":
        return ok("user-namespaces", "user namespaces may be made") if state else None
    # AppArmor's: programs with a profile of their own, such as Apptainer, may make them all the same.
    return ok("user-namespaces", f"only programs with a profile may make user namespaces ({state})")


def daemons(facts: Facts, needs: Needs) -> Check | None:
    """Another Slurm or munge disturbs no site, but whoever meets two should know."""
    theirs = [name for name in facts.machine.system.daemons or () if name.startswith(("slurm", "munge"))]
    if not theirs:
        return None
    why = f"{listed(theirs)} run here for somebody else; a site's have ports and keys of their own"
    return ok("daemons", why)


LOCAL: tuple[Judge, ...] = (
    cores,
    memory,
    disk,
    shared_memory,
    limits,
    host_name,
    programs,
    user_namespaces,
    ports,
    daemons,
    gpus,
    nouveau,
    mig,
)
