"""The checks of a host that carries virtual machines, and of one that reaches a cluster elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ai_how.host.checks import Check, Facts, Judge, Needs, failure, listed, ok, unknown, warning
from ai_how.host.checks_local import LOCAL
from ai_how.host.machine import UNLIMITED

_GIB = 2**30
_PACKAGES = {
    "debian": "sudo apt-get install --no-install-recommends",
    "fedora": "sudo dnf install",
    "suse": "sudo zypper install",
    "arch": "sudo pacman -S",
}
#: Which packages carry what libvirt's provider runs, by family.
_LIBVIRT = {
    "debian": "libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils",
    "fedora": "libvirt-daemon-kvm libvirt-client qemu-kvm qemu-img",
    "suse": "libvirt-daemon-qemu libvirt-client qemu-x86 qemu-img",
    "arch": "libvirt qemu-base dnsmasq",
}
_TCG = "guests are emulated instruction by instruction, an order of magnitude slower"


def virtualisation(facts: Facts, needs: Needs) -> Check | None:
    cpus = facts.machine.cpus
    if cpus is None:
        return unknown("virtualisation", "nobody could tell what the CPUs can do")
    found = [flag for flag in ("vmx", "svm") if flag in cpus.flags]
    if found:
        return ok("virtualisation", f"the CPUs have {found[0]}")
    guest = "the host of this guest does not let it run guests" if "hypervisor" in cpus.flags else (
        "switch on VT-x or AMD-V in the firmware's set-up"
    )  # fmt: skip
    return warning("virtualisation", f"the CPUs show neither vmx nor svm: {_TCG}; {guest}")


def kvm(facts: Facts, needs: Needs) -> Check | None:
    state = facts.machine.system.kvm
    if state is None:
        return unknown("kvm", "nobody could tell whether /dev/kvm is there")
    if state == "absent":
        return warning("kvm", f"there is no /dev/kvm: {_TCG}", f"sudo modprobe {_kvm_module(facts)}")
    if state == "closed" and not needs.session:
        return ok("kvm", "/dev/kvm is closed to you; the system's libvirt opens it for its guests")
    if state == "closed":
        return warning("kvm", "/dev/kvm is closed to you", "sudo usermod -aG kvm $USER")
    return ok("kvm", "/dev/kvm can be opened; whether a guest boots, only booting one shows")


def _kvm_module(facts: Facts) -> str:
    flags = facts.machine.cpus.flags if facts.machine.cpus else ()
    return "kvm_amd" if "svm" in flags else "kvm_intel"


def nested(facts: Facts, needs: Needs) -> Check | None:
    """Only a guest's guests need it: a cluster's nodes are no hosts themselves."""
    state = facts.machine.system.nested
    if state is None:
        return None
    return ok(
        "nested", "guests may run guests" if state else "guests may not run guests; nothing here needs it"
    )


def iommu(facts: Facts, needs: Needs) -> Check | None:
    count, on_pci = facts.machine.iommu_groups, facts.machine.nvidia_on_pci
    if on_pci is None and not facts.machine.gpus:
        return unknown(
            "iommu", "PCI could not be read, so nobody could tell whether there is a GPU to hand to a guest"
        )
    if not on_pci and not facts.machine.gpus:
        return ok("iommu", "there is no GPU to hand to a guest")
    if count is None:
        return unknown("iommu", "nobody could tell whether the IOMMU is on")
    if count == 0:
        flags = facts.machine.cpus.flags if facts.machine.cpus else ()
        word = "amd_iommu=on" if "svm" in flags else "intel_iommu=on"
        return failure(
            "iommu",
            f"the IOMMU is off: no GPU can be handed to a guest. The kernel wants {word}, the firmware VT-d or AMD-Vi",
            _kernel_argument(facts, f"{word} iommu=pt"),
        )
    return ok("iommu", f"on, with {count} groups")


def _kernel_argument(facts: Facts, words: str) -> str | None:
    """What adds words to the kernel's command line, where the distribution has one way to do it."""
    if facts.family == "debian":
        edit = f"""sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&{words} /' /etc/default/grub"""
        return f"{edit} && sudo update-grub && sudo reboot"
    return f'sudo grubby --update-kernel=ALL --args="{words}"' if facts.family == "fedora" else None


def iommu_neighbours(facts: Facts, needs: Needs) -> Check | None:
    """A guest gets a whole IOMMU group: strangers in a GPU's group would go with it."""
    devices = facts.machine.pci_devices or ()
    shared = []
    for gpu in facts.machine.nvidia_on_pci or ():
        if gpu.iommu_group is None:
            continue
        slot = gpu.address.rpartition(".")[0]
        # The GPU's own sound or USB functions go along by nature, PCI bridges (class 06) stay with the host.
        strangers = [
            device.address
            for device in devices
            if device.iommu_group == gpu.iommu_group
            and not device.address.startswith(f"{slot}.")
            and not device.kind.startswith("06")
        ]
        if strangers:
            shared.append(f"{gpu.address} shares IOMMU group {gpu.iommu_group} with {listed(strangers)}")
    if shared:
        return warning(
            "iommu-groups", f"{'; '.join(shared)}: they go to the same guest; another slot may part them"
        )
    if not any(gpu.iommu_group is not None for gpu in facts.machine.nvidia_on_pci or ()):
        return None
    return ok("iommu-groups", "every GPU has an IOMMU group of its own")


def libvirt_programs(facts: Facts, needs: Needs) -> Check | None:
    there = facts.machine.system.programs
    if there is None:
        return unknown("libvirt", "nobody could tell which programs are installed")
    wanted = ("virsh", "qemu-img")
    missing = [name for name in wanted if name not in there]
    if not any(name.startswith("qemu-system") for name in there):
        missing.append("qemu-system-x86_64")
    if not {"libvirtd", "virtqemud"} & set(there):
        missing.append("libvirtd")
    if missing:
        return failure("libvirt", f"missing: {listed(missing)}", _install(facts, _LIBVIRT))
    running = {"libvirtd", "virtqemud"} & set(facts.machine.system.daemons or ())
    if facts.machine.system.daemons is not None and not running:
        return warning("libvirt", "libvirt's daemon does not run", "sudo systemctl start libvirtd")
    return ok("libvirt", "libvirt and QEMU are here")


def groups(facts: Facts, needs: Needs) -> Check | None:
    """The system's libvirt is spoken to by the group libvirt; guests of one's own open /dev/kvm themselves."""
    system, wanted = facts.machine.system, "kvm" if needs.session else "libvirt"
    if system.root:
        return ok("groups", "root needs no groups")
    if system.groups is None:
        return unknown("groups", "nobody could tell your groups")
    if wanted not in system.groups:
        why = f"you are not in the group {wanted}; a new membership counts from the next login"
        return failure("groups", why, f"sudo usermod -aG {wanted} $USER")
    return ok("groups", f"you are in the group {wanted}")


def locked_memory(facts: Facts, needs: Needs) -> Check | None:
    """A guest with a GPU has all its memory locked; the system's libvirt raises the limit itself."""
    system = facts.machine.system
    if not needs.session or not facts.machine.nvidia_on_pci or system.limits is None:
        return None
    if system.limits.memlock != UNLIMITED and system.limits.memlock < needs.memory_gb * _GIB:
        why = (
            f"you may lock {system.limits.memlock // 2**20} MiB of memory; "
            "guests with a GPU lock all of theirs"
        )
        return warning("locked-memory", why, "ulimit -l unlimited")
    return ok("locked-memory", "memory can be locked for guests with a GPU")


def cgroup(facts: Facts, needs: Needs) -> Check | None:
    mode = facts.machine.system.cgroup
    if mode is None:
        return unknown("cgroup", "nobody could tell the mode of control groups")
    if mode == "v2":
        return ok("cgroup", "control groups v2")
    why = f"control groups are {mode}: libvirt works, newer container runtimes want v2"
    return warning("cgroup", why, _kernel_argument(facts, "systemd.unified_cgroup_hierarchy=1"))


def clock(facts: Facts, needs: Needs) -> Check | None:
    """munge refuses what was signed more than five minutes ago, by the clocks of two machines."""
    state = facts.machine.system.clock_synchronised
    if state is None:
        return unknown("clock", "nobody could tell whether the clock is kept in step")
    if not state:
        why = "nothing keeps the clock in step; munge refuses messages between machines that differ by five minutes"
        return warning("clock", why, "sudo timedatectl set-ntp true")
    return ok("clock", "the clock is kept in step")


def ssh(facts: Facts, needs: Needs) -> Check | None:
    there = facts.machine.system.programs
    if there is None:
        return unknown("ssh", "nobody could tell whether ssh is installed")
    if "ssh" not in there:
        packages = {
            "debian": "openssh-client",
            "fedora": "openssh-clients",
            "suse": "openssh-clients",
            "arch": "openssh",
        }
        return failure(
            "ssh", "ssh is missing: a cluster elsewhere is reached by it", _install(facts, packages)
        )
    return ok("ssh", "ssh is here")


def _install(facts: Facts, packages: dict[str, str]) -> str | None:
    words = _PACKAGES.get(facts.family)
    return f"{words} {packages[facts.family]}" if words else None


LIBVIRT: tuple[Judge, ...] = (
    virtualisation, kvm, nested, libvirt_programs, groups, iommu, iommu_neighbours, locked_memory, cgroup, clock,
)  # fmt: skip
EXISTING: tuple[Judge, ...] = (ssh, clock)


def for_providers(providers: frozenset[str]) -> Sequence[Judge]:
    """The checks that these providers need, each once. Every site has processes on this machine: LOCAL is always in."""
    chosen = list(LOCAL)
    for name, checks in (("libvirt", LIBVIRT), ("existing", EXISTING)):
        if name in providers:
            chosen += [check for check in checks if check not in chosen]
    return chosen
