"""Both clusters as the file asks for them."""

from __future__ import annotations

from ai_how.gpu.allocation import allocate
from ai_how.host.inventory import Inventory
from ai_how.services.catalogue import port_names
from ai_how.site.overview import GIB, Overview, overview
from ai_how.spec import parse
from ai_how.spec.template import laptop, template

HOST = Inventory("box", "ann", False, 64, 256 * GIB, 500 * GIB, ())


def seen(text: str) -> Overview:
    file = parse(text)
    ports = {name: asked or 15000 + index for index, (name, asked) in enumerate(port_names(file.spec))}
    return overview(file, allocate(file.spec), ports, HOST)


def test_the_laptop() -> None:
    found = seen(laptop().replace("gateway: {} ", "gateway: {port: 8080} "))
    assert [(each.cluster, each.names, each.count) for each in found.machines] == [
        ("hpc", "controller", 1),
        ("hpc", "node[01-04]", 4),
    ]
    assert found.machines[1].devices == {"a100": 8}
    assert [each.name for each in found.services if each.chosen] == ["gateway"]
    assert not any(each.name.startswith("slurmd-") for each in found.services)
    assert {each.resource: (each.asked, each.has) for each in found.sums} == {
        "CPUs": (9, 64),
        "memory": (17, 256),
    }


def test_the_workstation_has_both_sides_and_every_slice_an_owner() -> None:
    found = seen(template("workstation"))
    assert [each.role for each in found.machines] == [
        "controller", "compute node", "control plane", "cpu worker", "gpu worker",
    ]  # fmt: skip
    devices = {each.role: each.devices for each in found.machines}
    assert devices["compute node"] == {"a100_1g.10gb": 4}
    assert devices["gpu worker"]["a100_1g.10gb"] == 3 and len(devices["gpu worker"]) == 2
    ledger = found.as_json()["gpus"]
    assert isinstance(ledger, list) and len(ledger) == 8
    starts = [line["start"] for line in ledger if line["profile"]]
    assert len(set(starts)) == 7
    assert {line["owner"] for line in ledger} == {
        *(f"node0{n}" for n in (1, 2, 3, 4)), *(f"gpu-worker0{n}" for n in (1, 2, 3)),
    }  # fmt: skip
    disk = next(each for each in found.sums if each.resource == "disk")
    assert disk.oversubscribed == (disk.asked > 500)


def test_a_cluster_that_runs_elsewhere_takes_nothing_of_this_machine() -> None:
    found = seen(template("existing"))
    assert found.machines == () and found.sums == ()
    assert not any(each.name.startswith("slurm") for each in found.services)
