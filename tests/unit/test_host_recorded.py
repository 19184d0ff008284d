"""Inventories in files: what was found comes back the same, and a few lines by hand are enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.errors import AiHowError, NotFound, SpecError
from ai_how.gpu.catalogue import KINDS
from ai_how.host.gpus import MigMode
from ai_how.host.inventory import Inventory
from ai_how.host.machine import Machine
from ai_how.host.nvml import NvmlError
from ai_how.host.probe import probe
from ai_how.host.recorded import (
    as_inventory,
    inventory_text,
    parse_inventory,
    profiles_of,
    read_inventory,
    save_inventory,
)
from ai_how.host.simulated import SimulatedNvml
from ai_how.run.fake import ScriptedGate

EXAMPLES = Path(__file__).parents[2] / "examples/inventories"
GUEST = Path(__file__).parents[1] / "recorded/host/debian-12-guest"
GIB = 2**30
BY_HAND = """\
inventory: "1.0"
memory_gb: 64
gpus:
  - {model: NVIDIA A100 80GB PCIe, count: 2, mig: true}
  - {model: rtx-6000-ada}
"""


def test_a_few_lines_by_hand() -> None:
    machine = parse_inventory(BY_HAND, "box.yaml")
    assert machine.origin == "simulated" and machine.cpus is None
    one, two, plain = machine.gpus or ()
    assert (one.uuid, two.uuid) == ("GPU-simulated-0", "GPU-simulated-1")
    assert (one.pci_address, two.pci_address) == ("0000:41:00.0", "0000:42:00.0")
    assert one.memory == 80 * GIB and one.mig == MigMode(current=True, pending=True)
    assert {profile.name for profile in one.profiles} >= {"1g.10gb", "3g.40gb", "7g.80gb"}
    assert plain.model == "NVIDIA RTX 6000 Ada Generation" and plain.mig is None and not plain.profiles


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
def test_every_kind_of_the_catalogue_can_be_simulated(kind) -> None:  # type: ignore[no-untyped-def]
    text = f'inventory: "1.0"\ngpus: [{{model: "{kind.products[0]}"}}]\n'
    (gpu,) = parse_inventory(text, "one.yaml").gpus or ()
    assert gpu.memory == kind.memory_gb * GIB and gpu.profiles == profiles_of(kind)
    assert (gpu.mig is not None) == bool(kind.profiles)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_examples_come_back_the_same(file: Path, tmp_path: Path) -> None:
    machine = read_inventory(file)
    assert machine.hostname and machine.cpus and machine.pci_devices is not None
    save_inventory(machine, tmp_path / "again.yaml")
    assert read_inventory(tmp_path / "again.yaml") == machine


def test_what_is_simulated_is_called_so() -> None:
    for file in EXAMPLES.glob("*.yaml"):
        simulated = any("simulated" in gpu.uuid for gpu in read_inventory(file).gpus or ())
        assert ("simulated" in file.read_text().partition("\ninventory")[0]) == simulated


def test_what_was_found_is_recorded_and_comes_back(tmp_path: Path) -> None:
    hands = parse_inventory(BY_HAND, "box.yaml")
    found = probe(
        ScriptedGate(), tmp_path, nvml=SimulatedNvml(hands.gpus or (), driver="550.1"),
        sys=GUEST / "sys", proc=GUEST / "proc", dev=Path("/dev"),
    )  # fmt: skip
    assert found.origin == "found" and found.gpus == hands.gpus and found.driver == "550.1"
    again = parse_inventory(inventory_text(found), "again.yaml")
    assert again == found.model_copy(update={"origin": "recorded"})


class NoDriver(SimulatedNvml):
    def open(self) -> None:
        raise NvmlError("begin", 9, "Driver Not Loaded")


def test_without_a_driver_pci_decides_between_none_and_unknown(tmp_path: Path) -> None:
    def look(sys: Path) -> Machine:
        failing = ScriptedGate([(("nvidia-smi",), (9, "", "no driver"))])
        return probe(failing, tmp_path, nvml=NoDriver(()), sys=sys, proc=GUEST / "proc", dev=tmp_path)

    none = look(GUEST / "sys")
    assert none.gpus == () and none.could_not_tell == {}
    unknown = look(tmp_path / "gone")
    assert unknown.gpus is None and "Driver Not Loaded" in unknown.could_not_tell["gpus"]


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("memory_gb: 3\n", "i.yaml:1:1", "'inventory' is missing"),
        ('inventory: "1.0"\nmemory_gb: lots\n', "i.yaml:2:12", "memory_gb"),
        ('inventory: "1.0"\ncpu: {}\n', "i.yaml:2:1", "unknown key 'cpu'"),
        (
            'inventory: "1.0"\ngpus: [{model: A1000 80GB}]\n',
            "i.yaml:2:16",
            "does not know the GPU 'A1000 80GB'",
        ),
        ('inventory: "1.0"\ngpus:\n  - {model: a100-80, count: 0}\n', "i.yaml:3:29", "count"),
        ('inventory: "1.0"\nsystem: {kvm: yes}\n', "i.yaml:2:15", "kvm"),
        ('inventory: "1.0"\nsystem: [\n', "i.yaml:", "no valid YAML"),
    ],
)
def test_a_wrong_file_is_told_where_it_is_wrong(text: str, where: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_inventory(text, "i.yaml")
    (problem,) = caught.value.problems
    assert problem.where.startswith(where) and message in problem.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no"):
        read_inventory(tmp_path / "gone.yaml")
    (tmp_path / "file").touch()
    with pytest.raises(AiHowError, match="cannot be written"):
        save_inventory(Machine(inventory="1.0"), tmp_path / "file" / "x.yaml")


def test_numbers_of_pci_stay_text() -> None:
    """1e30 is a device id and no number, whatever a reader of YAML thinks of it."""
    text = 'inventory: "1.0"\npci_devices: [{address: "0000:01:00.0", vendor: "1e30", kind: "0180"}]\n'
    machine = parse_inventory(text, "one.yaml")
    assert "'1e30'" in inventory_text(machine)
    assert parse_inventory(inventory_text(machine), "two.yaml") == machine


def test_a_plan_takes_what_the_file_says_and_else_what_is_here() -> None:
    here = Inventory("box", "ann", False, 8, 16 * GIB, 100 * GIB, (Path("/dev/tty1"),))
    there = as_inventory(parse_inventory(BY_HAND, "box.yaml"), here)
    assert (there.memory, there.cpus, there.devices) == (64 * GIB, 8, here.devices)
    assert there.loopback_name
    dgx = as_inventory(read_inventory(EXAMPLES / "dgx-h100.yaml"), here)
    assert (dgx.hostname, dgx.cpus, dgx.loopback_name) == ("dgx", 224, False)
