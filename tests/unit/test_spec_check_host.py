"""The file against the facts of a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.spec import parse
from ai_how.spec.check_host import Sum, check_host, shared_by, total

BASE = (Path(__file__).parent / "faults" / "base.yaml").read_text(encoding="utf-8")
SPEC = parse(BASE).spec
LOCAL = parse(BASE.replace("provider: libvirt", "provider: local").replace("    libvirt: {uri", "    #")).spec
SUBNET = ("global", "networks", "hpc_network", "subnet")


def test_the_sums_of_both_sides() -> None:
    assert total(SPEC, "hpc") == Sum(
        cpus=4 + 4 * 8 + 2 * 32, memory_gb=8 + 4 * 16 + 2 * 128, disk_gb=100 + 4 * 200
    )
    assert total(SPEC, "cloud") == Sum(cpus=3 * 4 + 4 + 3 * 8, memory_gb=3 * 8 + 8 + 3 * 16)


@pytest.mark.parametrize(
    ("route", "clash"),
    [
        (("192.168.100.0/24", "eth0"), True),
        (("192.168.0.0/16", "wg0"), True),
        (("192.168.100.128/25", "docker0"), True),
        (("192.168.100.0/24", "virbr100"), False),  # the network itself, from before
        (("0.0.0.0/0", "eth0"), False),
        (("192.168.101.0/24", "eth0"), False),
        (("192.168.200.0/24", "eth0"), False),  # the cloud side exists elsewhere
    ],
)
def test_a_subnet_that_leads_elsewhere_from_here(route: tuple[str, str], clash: bool) -> None:
    found = list(check_host(SPEC, routes=[("0.0.0.0/0", "eth9"), route]))
    assert [path for path, _, _ in found] == [SUBNET] * clash
    if clash:
        assert f"by {route[1]}" in found[0][1]


def test_a_device_that_is_not_there() -> None:
    there = ["00000000:65:00.0", "0000:CA:00.0", "0000:e2:00.0"]
    ((path, message, todo),) = check_host(SPEC, pci_addresses=there)
    assert path == ("global", "gpu_allocation", "devices", 2, "pci_address")
    assert message == "this machine has no GPU at 0000:e1:00.0"
    assert todo == "Did you mean '0000:e2:00.0'?"
    assert len(list(check_host(SPEC, pci_addresses=[]))) == 3
    assert not list(check_host(SPEC, pci_addresses=None))


def test_memory_is_not_shared_between_virtual_machines_but_cpus_and_disks_are() -> None:
    ((_, message, _),) = check_host(SPEC, memory_gb=327)
    assert "328 GiB of memory together, this machine has 327 GiB" in message
    assert not list(check_host(SPEC, memory_gb=328))
    assert [message.split(",")[0] for _, message, _ in shared_by(SPEC, cpus=99, disk_gb=899)] == [
        "the virtual machines have 100 CPUs together",
        "the virtual machines' disks may grow to 900 GiB together",
    ]
    assert not list(shared_by(SPEC, cpus=100, disk_gb=900))


def test_emulation_asks_nothing_of_the_host_here() -> None:
    routes = [("192.168.100.0/24", "eth0")]
    assert not list(check_host(LOCAL, routes=routes, pci_addresses=[], memory_gb=1))
    assert not list(shared_by(LOCAL, cpus=1, disk_gb=1))
