"""What the doctor judges: one machine on which all is well, and what each change to it comes out as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.host.checks import Check, Facts, Needs, Result, exit_code, judge
from ai_how.host.checks_machines import for_providers
from ai_how.host.doctor import examine
from ai_how.host.gpus import MigMode
from ai_how.host.machine import Limits, Machine, PciDevice, Route
from ai_how.host.needs import needs_of, networks
from ai_how.host.recorded import read_inventory
from ai_how.spec import parse
from ai_how.spec.template import laptop

WORKSTATION = read_inventory(Path(__file__).parents[2] / "examples/inventories/workstation.yaml")
LIBVIRT, LOCAL, EXISTING = (Needs(providers=frozenset({name})) for name in ("libvirt", "local", "existing"))
SESSION = Needs(frozenset({"libvirt"}), memory_gb=16, session=True)
OK, WARNING, FAILURE, UNKNOWN = Result.OK, Result.WARNING, Result.FAILURE, Result.COULD_NOT_TELL


def machine(**facts: Any) -> Machine:
    """The workstation with other facts; those of ``system`` and ``cpus`` go by their own names."""
    known, parts = dict(facts), {}
    for part in ("system", "cpus"):
        whole = getattr(WORKSTATION, part)
        inside = {key: known.pop(key) for key in list(known) if key in type(whole).model_fields}
        parts[part] = whole.model_copy(update=inside)
    return WORKSTATION.model_copy(update=parts | known)


def checks(found: Machine, needs: Needs, **facts: Any) -> dict[str, Check]:
    known = Facts(found, **{"missing": (), "family": "debian"} | facts)
    return {check.id: check for check in judge(known, needs, for_providers(needs.providers))}


def test_the_workstation_is_well_for_every_provider() -> None:
    for needs in (LIBVIRT, LOCAL, EXISTING):
        found = checks(machine(), needs)
        assert {check.result for check in found.values()} == {OK}
        assert exit_code(found.values()) == 0


def test_a_laptop_is_never_told_about_virtual_machines() -> None:
    asked = set(checks(machine(kvm="absent", nested=False, iommu_groups=0, flags=()), LOCAL))
    assert not asked & {"kvm", "nested", "virtualisation", "libvirt", "groups", "iommu", "cgroup", "clock"}


NOUVEAU = {"modules": ("nouveau",), "gpus": None, "driver": None, "could_not_tell": {"gpus": "NVML says: no"}}
STRANGER = PciDevice(address="0000:66:00.0", vendor="8086", kind="0200", iommu_group=21)
BRIDGE = PciDevice(address="0000:64:00.0", vendor="1022", kind="0604", iommu_group=21)
ON_PCI = WORKSTATION.pci_devices or ()
HALF = [
    gpu.model_copy(update={"mig": MigMode(current=False, pending=True)}) for gpu in WORKSTATION.gpus or ()
]

TABLE: list[tuple[str, dict[str, Any], Needs, Result, str, str | None]] = [
    ("cores", {"usable": 1}, LOCAL, WARNING, "take turns", None),
    ("cores", {"usable": 4}, Needs(frozenset({"libvirt"}), cpu_cores=20), WARNING, "machines have 20", None),
    ("memory", {"memory_gb": 2.0}, LOCAL, WARNING, "2.0 GiB; below 4 GiB", None),
    ("memory", {"memory_gb": 16.0}, Needs(frozenset({"libvirt"}), memory_gb=72), FAILURE, "take 72 GiB", None),
    ("memory", {"memory_gb": None}, LOCAL, UNKNOWN, "nobody could tell", None),
    ("disk", {"disk_free_gb": 1.2}, LOCAL, FAILURE, "needs 2 GiB to begin with", None),
    ("disk", {"disk_free_gb": 8.0}, LOCAL, WARNING, "8.0 GiB are free", None),
    ("disk", {"disk_free_gb": 300.0}, Needs(frozenset({"libvirt"}), disk_gb=900), WARNING, "grow to 900", None),
    ("shared-memory", {"shared_memory_gb": 0.06}, LOCAL, WARNING, "61 MiB", "remount,size=2g"),
    ("shared-memory", {"shared_memory_gb": 0.0}, LOCAL, FAILURE, "no /dev/shm", "mount -t tmpfs"),
    ("limits", {"limits": Limits(nofile=256, nproc=-1, memlock=-1)}, LOCAL, WARNING, "256 open", "ulimit -n 1024"),
    ("limits", {"limits": Limits(nofile=-1, nproc=100, memlock=-1)}, LOCAL, WARNING, "100 proc", "ulimit -u"),
    ("limits", {"limits": Limits(nofile=-1, nproc=-1, memlock=-1)}, LOCAL, OK, "unlimited open files", None),
    ("host-name", {"own_address": "127.0.1.1"}, LOCAL, WARNING, "every interface", "/etc/hosts"),
    ("host-name", {"own_address": ""}, LOCAL, WARNING, "resolves to nothing", "1i 127.0.0.1 workstation"),
    ("user-namespaces", {"user_namespaces": "user.max_user_namespaces"}, LOCAL, WARNING, "closed", "=15000"),
    ("user-namespaces", {"user_namespaces": "kernel.apparmor_restrict"}, LOCAL, OK, "with a profile", None),
    ("daemons", {"daemons": ("slurmctld", "munged")}, LOCAL, OK, "munged run here for somebody else", None),
    ("gpus", {"gpus": (), "pci_devices": ()}, LOCAL, OK, "PCI shows none; Slurm's can be simulated", None),
    ("gpus", {"gpus": None, "pci_devices": None}, LOCAL, OK, "simulated devices only; PCI could not", None),
    ("gpus", {"gpus": None, "pci_devices": None}, LIBVIRT, UNKNOWN, "PCI could not be read", None),
    ("gpus", {"gpus": None}, LOCAL, WARNING, "runs on the CPUs", "sudo apt-get install nvidia-driver"),
    ("gpus", {}, Needs(frozenset({"libvirt"}), devices={"0000:17:00.0": "GPU-7"}), FAILURE, "GPU-7 (0000:17", None),
    ("gpus", {}, Needs(devices={"0000:17:00.0": "GPU-7"}), OK, "1 x NVIDIA A100 80GB PCIe", None),
    ("nouveau", NOUVEAU, LOCAL, WARNING, "nouveau holds", "update-initramfs -u && sudo reboot"),
    ("nouveau", NOUVEAU, LIBVIRT, FAILURE, "nouveau holds", "blacklist nouveau"),
    ("nouveau", {"modules": None}, LIBVIRT, UNKNOWN, "kernel modules", None),
    ("mig", {"gpus": HALF}, LOCAL, WARNING, "off and will be on after a reset", "--gpu-reset -i 0"),
    ("virtualisation", {"flags": ()}, LIBVIRT, WARNING, "firmware", None),
    ("virtualisation", {"flags": ("hypervisor",)}, LIBVIRT, WARNING, "host of this guest", None),
    ("kvm", {"kvm": "absent"}, LIBVIRT, WARNING, "no /dev/kvm", "modprobe kvm_amd"),
    ("kvm", {"kvm": "closed"}, LIBVIRT, OK, "the system's libvirt opens it", None),
    ("kvm", {"kvm": "closed"}, SESSION, WARNING, "closed to you", "usermod -aG kvm"),
    ("kvm", {"kvm": None}, LIBVIRT, UNKNOWN, "nobody could tell", None),
    ("nested", {"nested": False}, LIBVIRT, OK, "nothing here needs it", None),
    ("libvirt", {"programs": ("qemu-img", "virsh")}, LIBVIRT, FAILURE, "qemu-system-x86_64 and libvirtd", "qemu-utils"),
    ("libvirt", {"daemons": ()}, LIBVIRT, WARNING, "does not run", "systemctl start libvirtd"),
    ("groups", {"groups": ("kvm",)}, LIBVIRT, FAILURE, "not in the group libvirt", "usermod -aG libvirt"),
    ("groups", {"groups": ("libvirt",)}, LIBVIRT, OK, "in the group libvirt", None),
    ("groups", {"groups": ("libvirt",)}, SESSION, FAILURE, "not in the group kvm", "usermod -aG kvm"),
    ("groups", {"groups": (), "root": True}, LIBVIRT, OK, "root needs no groups", None),
    ("iommu", {"iommu_groups": 0}, LIBVIRT, FAILURE, "amd_iommu=on", "update-grub"),
    ("iommu", {"iommu_groups": None}, LIBVIRT, UNKNOWN, "nobody could tell", None),
    ("iommu", {"gpus": (), "pci_devices": (), "iommu_groups": 0}, LIBVIRT, OK, "no GPU to hand", None),
    ("iommu-groups", {"pci_devices": (*ON_PCI, STRANGER)}, LIBVIRT, WARNING, "group 21 with 0000:66", None),
    ("iommu-groups", {"pci_devices": (*ON_PCI, BRIDGE)}, LIBVIRT, OK, "of its own", None),
    ("locked-memory", {}, SESSION, WARNING, "lock 8 MiB", "ulimit -l"),
    ("cgroup", {"cgroup": "hybrid"}, LIBVIRT, WARNING, "hybrid", "systemd.unified_cgroup_hierarchy=1"),
    ("clock", {"clock_synchronised": False}, EXISTING, WARNING, "munge refuses", "set-ntp true"),
    ("clock", {"clock_synchronised": None}, LIBVIRT, UNKNOWN, "nobody could tell", None),
    ("ssh", {"programs": ()}, EXISTING, FAILURE, "reached by it", "openssh-client"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "facts", "needs", "result", "why", "command"),
    TABLE,
    ids=[f"{row[0]}-{row[3]}-{index}" for index, row in enumerate(TABLE)],
)
def test_what_comes_out(
    name: str, facts: dict[str, Any], needs: Needs, result: Result, why: str, command: str | None
) -> None:
    check = checks(machine(**facts), needs)[name]
    assert check.result is result and why in check.why
    assert (command is None) == (check.command is None) and (command or "") in (check.command or "")


def test_missing_programs_are_a_failure_only_where_nothing_gets_them() -> None:
    facts = {"missing": ("slurmctld",), "command": "sudo dnf install slurm-slurmctld"}
    debian = checks(machine(), LOCAL, **facts)["programs"]
    assert (debian.result, debian.why) == (
        OK, "1 program not here yet; `ai-how up` gets what is missing into your data folder",
    )  # fmt: skip
    fedora = checks(machine(), LOCAL, **facts, family="fedora")["programs"]
    assert (fedora.result, fedora.command) == (FAILURE, "sudo dnf install slurm-slurmctld")
    assert "programs" not in checks(machine(), LOCAL, missing=None)


def test_ports_that_the_file_asks_for() -> None:
    needs = Needs(ports={5000: "mlflow", 8080: "gateway"})
    assert checks(machine(), needs, taken={})["ports"].why == "2 ports of the file are free"
    taken = checks(machine(), needs, taken={8080: "nginx (process 12)"})["ports"]
    assert (taken.result, taken.why) == (FAILURE, "port 8080 (gateway) is taken by nginx (process 12)")
    assert checks(machine(), needs, taken=None)["ports"].result is UNKNOWN
    assert "ports" not in checks(machine(), LOCAL, taken={8080: "nginx"})


def test_the_worst_result_decides_and_the_unknown_is_neither() -> None:
    def code(*results: Result) -> int:
        return exit_code([Check("a", result, "why") for result in results])

    assert (code(), code(OK), code(OK, UNKNOWN)) == (0, 0, 9)
    assert (code(UNKNOWN, WARNING), code(WARNING, FAILURE, UNKNOWN)) == (1, 2)


def test_of_a_machine_of_which_nothing_is_known_nothing_is_said_to_be_well() -> None:
    found = examine(Machine(inventory="1.0"), LIBVIRT)
    assert found.exit_code == 9
    assert {check.id for check in found.checks if check.result is OK} == set()


@pytest.mark.parametrize("family", ["debian", "fedora", "suse", "arch", "unknown"])
def test_every_family_has_its_own_commands(family: str) -> None:
    found = checks(machine(programs=(), iommu_groups=0, **NOUVEAU), LIBVIRT, family=family)
    install, reboot = found["libvirt"].command, found["nouveau"].command or ""
    words = {"debian": "apt-get", "fedora": "dnf", "suse": "zypper", "arch": "pacman"}
    assert install is None if family == "unknown" else words[family] in (install or "")
    assert reboot.endswith("sudo reboot")


def test_the_laptops_file_needs_the_local_provider_alone() -> None:
    assert needs_of(parse(laptop()).spec) == Needs()


LIBVIRT_FILE = """
version: "1.0"
metadata: {name: lab}
global:
  networks: {hpc_network: {subnet: "192.168.100.0/24"}}
  gpu_allocation:
    devices:
      - {id: GPU-0, pci_address: "0000:CA:00.0", model: "NVIDIA A100 80GB", mig_capable: true}
    whole_gpus: {hpc: 1}
clusters:
  hpc:
    provider: libvirt
    libvirt: {uri: "qemu:///session"}
    controller: {cpu_cores: 2, memory_gb: 4, disk_gb: 20}
    compute_nodes: {count: 3, cpu_cores: 4, memory_gb: 8, disk_gb: 40, gpu_enabled: true}
  cloud:
    services: {mlflow: {port: 5000}}
"""


@pytest.mark.parametrize(
    ("routes", "result", "why"),
    [
        ((), OK, "no route leads there yet"),
        ((Route(network="192.168.0.0/16", interface="eno1"),), FAILURE, "overlaps 192.168.0.0/16"),
        ((Route(network="0.0.0.0/0", interface="eno1"),), OK, "no route"),
        (None, UNKNOWN, "nobody could tell"),
    ],
)
def test_networks_that_lead_elsewhere_already(routes: Any, result: Result, why: str) -> None:
    spec = parse(LIBVIRT_FILE).spec
    check = examine(machine(routes=routes), needs_of(spec), spec=spec).checks[-1]
    assert (check.id, check.result) == ("networks", result) and why in check.why
    assert networks(parse(laptop()).spec, machine(routes=routes)) is None


def test_virtual_machines_are_added_up() -> None:
    assert needs_of(parse(LIBVIRT_FILE).spec) == Needs(
        providers=frozenset({"libvirt", "local"}),
        cpu_cores=14,
        memory_gb=28,
        disk_gb=140,
        devices={"0000:ca:00.0": "GPU-0, NVIDIA A100 80GB"},
        ports={5000: "mlflow"},
        session=True,
    )
