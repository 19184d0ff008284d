"""What the kernel's trees say: one recorded on a small guest, and ones made up for what that has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.host import hardware, system
from ai_how.host.machine import Cpus, Disk, NumaNode, PciDevice, Route

GUEST = Path(__file__).parents[1] / "recorded/host/debian-12-guest"


def write(root: Path, files: dict[str, str]) -> Path:
    """A tree; what begins with -> is a link."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            path.symlink_to(text[2:])
        else:
            path.write_text(text)
    return root


def test_a_recorded_guest() -> None:
    proc, sys = GUEST / "proc", GUEST / "sys"
    assert hardware.cpus(proc, 2) == Cpus(
        model="AMD EPYC", sockets=1, cores=2, threads=2, usable=2, flags=("hypervisor",)
    )
    assert hardware.memory_gb(proc) == 23.5
    assert hardware.numa_nodes(sys) == (NumaNode(id=0, cpus="0-1", memory_gb=16.7),)
    assert hardware.disks(sys) == (Disk(name="vda", size_gb=256.0, rotational=True),)
    assert hardware.iommu_groups(sys) == 0
    assert hardware.modules(sys, system.MODULES) == ("kvm",)
    assert hardware.routes(proc) == (
        Route(network="0.0.0.0/0", interface="eth0", gateway="192.0.2.1"),
        Route(network="192.0.2.0/24", interface="eth0"),
    )
    devices = hardware.pci_devices(sys) or ()
    assert len(devices) == 6 and not [device for device in devices if device.is_nvidia_gpu]
    assert devices[1] == PciDevice(
        address="0000:00:01.0", vendor="1af4", device="1045", kind="ffff", driver="virtio-pci"
    )


CPU = "processor\t: {0}\nmodel name\t: Some CPU\nphysical id\t: {1}\ncore id\t: {2}\nflags\t\t: fpu vmx{3}\n"


def test_sockets_cores_and_threads_are_told_apart(tmp_path: Path) -> None:
    blocks = [CPU.format(2 * (2 * s + c) + t, s, c, "") for s in (0, 1) for c in (0, 1) for t in (0, 1)]
    found = hardware.cpus(write(tmp_path, {"cpuinfo": "\n".join(blocks)}))
    assert found == Cpus(model="Some CPU", sockets=2, cores=4, threads=8, flags=("vmx",))


def test_a_flag_counts_when_every_cpu_has_it(tmp_path: Path) -> None:
    text = "\n".join([CPU.format(0, 0, 0, " svm"), CPU.format(1, 0, 1, "")])
    found = hardware.cpus(write(tmp_path, {"cpuinfo": text}))
    assert found is not None and found.flags == ("vmx",)


def test_processors_that_name_no_cores(tmp_path: Path) -> None:
    """As on 64-bit Arm, which has no flags of this kind either."""
    text = "processor\t: 0\nFeatures\t: fp asimd\n\nprocessor\t: 1\nFeatures\t: fp asimd\n"
    assert hardware.cpus(write(tmp_path, {"cpuinfo": text})) == Cpus(cores=2, threads=2)


GPU = "bus/pci/devices/0000:65:00.0"


def test_a_gpu_with_its_driver_group_and_node(tmp_path: Path) -> None:
    files = {
        f"{GPU}/vendor": "0x10de\n",
        f"{GPU}/device": "0x20b5\n",
        f"{GPU}/class": "0x030200\n",
        f"{GPU}/numa_node": "1\n",
        f"{GPU}/driver": "->../../../bus/pci/drivers/nvidia",
        f"{GPU}/iommu_group": "->../../../kernel/iommu_groups/21",
        "kernel/iommu_groups/21/type": "DMA\n",
        "kernel/iommu_groups/9/type": "DMA\n",
    }
    sys = write(tmp_path, files)
    (device,) = hardware.pci_devices(sys) or ()
    assert device == PciDevice(
        address="0000:65:00.0", vendor="10de", device="20b5", kind="0302", driver="nvidia",
        iommu_group=21, numa_node=1,
    )  # fmt: skip
    assert device.is_nvidia_gpu and hardware.iommu_groups(sys) == 2


def test_the_sound_of_a_gpu_is_no_gpu() -> None:
    assert not PciDevice(address="0000:65:00.1", vendor="10de", kind="0403").is_nvidia_gpu


def test_what_cannot_be_read_is_none_and_not_nothing(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for ask in (hardware.cpus, hardware.memory_gb, hardware.routes, hardware.numa_nodes, hardware.disks):
        assert ask(gone) is None
    for ask in (hardware.pci_devices, hardware.iommu_groups, hardware.nested, system.cgroup):
        assert ask(gone) is None
    assert hardware.modules(gone, ("kvm",)) is None
    assert system.user_namespaces(gone) is None


def test_a_route_that_is_down_is_none(tmp_path: Path) -> None:
    line = "virbr0\t0064A8C0\t00000000\t{0}\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    text = "Iface\tDestination\n" + line.format("0000") + line.format("0001")
    assert hardware.routes(write(tmp_path, {"net/route": text})) == (
        Route(network="192.168.100.0/24", interface="virbr0"),
    )


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        ({"fs/cgroup/cgroup.controllers": "cpu"}, "v2"),
        ({"fs/cgroup/unified/cgroup.procs": "", "fs/cgroup/cpu/tasks": ""}, "hybrid"),
        ({"fs/cgroup/cpu/tasks": ""}, "v1"),
        ({"fs/cgroup/else": ""}, None),
    ],
)
def test_the_mode_of_control_groups(tmp_path: Path, files: dict[str, str], mode: str | None) -> None:
    assert system.cgroup(write(tmp_path, files)) == mode


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "open"),
        ({"sys/user/max_user_namespaces": "0"}, "user.max_user_namespaces"),
        ({"sys/kernel/unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone"),
        ({"sys/kernel/unprivileged_userns_clone": "1"}, "open"),
        ({"sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, system.APPARMOR),
    ],
)
def test_who_closes_user_namespaces(tmp_path: Path, files: dict[str, str], state: str) -> None:
    proc = write(tmp_path, {"sys/user/max_user_namespaces": "31547"} | files)
    assert system.user_namespaces(proc) == state


def test_kvm_and_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.kvm(tmp_path) == "absent" and system.shared_memory_gb(tmp_path) == 0.0
    (tmp_path / "kvm").touch()
    (tmp_path / "shm").mkdir()
    assert system.kvm(tmp_path) == "open"
    assert (system.shared_memory_gb(tmp_path) or 0) > 0
    monkeypatch.setattr("os.access", lambda *_: False)
    assert system.kvm(tmp_path) == "closed"


@pytest.mark.parametrize(("text", "state"), [("Y\n", True), ("1\n", True), ("N\n", False)])
def test_nested_guests(tmp_path: Path, text: str, state: bool) -> None:
    sys = write(tmp_path, {"module/kvm_amd/parameters/nested": text})
    assert hardware.nested(sys) is state


def test_this_machine_answers(tmp_path: Path) -> None:
    found = system.system(Path("/sys"), Path("/proc"), Path("/dev"))
    assert found.limits is not None and found.limits.nofile != 0
    assert found.groups and found.own_address is not None
    assert found.clock_synchronised in (True, False, None)
