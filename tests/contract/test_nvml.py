"""One contract for everything that stands for NVML: the simulated one, the library on paper, and the real one.

The real one is only read here: nothing on a machine's GPUs is changed by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nvml_on_paper import binding_over

from ai_how.gpu.catalogue import kind_of
from ai_how.host.gpus import GpuFound, MigMode, ProcessFound, ProfileFound, pci_address
from ai_how.host.nvml import (
    IN_USE,
    INSUFFICIENT_RESOURCES,
    NO_PERMISSION,
    NOT_FOUND,
    NOT_SUPPORTED,
    Nvml,
    NvmlError,
)
from ai_how.host.nvml_library import LibraryNvml
from ai_how.host.recorded import parse_inventory, read_inventory
from ai_how.host.simulated import SimulatedNvml

RECORDED = sorted((Path(__file__).parents[1] / "recorded/nvml").glob("*/*.yaml"))
NOTHING_RECORDED = "NVML was never recorded: no machine with an NVIDIA GPU could be had yet"
GIB = 2**30
ONE, TWO, THREE, SEVEN = 19, 14, 9, 0


def profile(number: int, name: str, compute: int, size: int, starts: tuple[int, ...]) -> ProfileFound:
    return ProfileFound(
        id=number, name=name, compute=compute, memory=size * 10 * GIB, maximum=len(starts), size=size,
        starts=starts, media="+me" in name,
    )  # fmt: skip


#: The table of an A100 80GB, by NVIDIA's MIG user guide.
A100 = (
    profile(ONE, "1g.10gb", 1, 1, (0, 1, 2, 3, 4, 5, 6)),
    profile(TWO, "2g.20gb", 2, 2, (0, 2, 4)),
    profile(THREE, "3g.40gb", 3, 4, (0, 4)),
    profile(5, "4g.40gb", 4, 4, (0,)),
    profile(SEVEN, "7g.80gb", 7, 8, (0,)),
)


def gpu(index: int, **facts: object) -> GpuFound:
    known: dict[str, object] = {
        "model": "NVIDIA A100-SXM4-80GB",
        "index": index,
        "uuid": f"GPU-{index}",
        "pci_address": f"0000:{0x41 + index:02x}:00.0",
        "memory": 80 * GIB,
        "compute_capability": "8.0",
        "mig": MigMode(current=True, pending=True),
        "profiles": A100,
    }
    return GpuFound(**known | facts)


def machine(**facts: object) -> SimulatedNvml:
    """A device with MIG on, and one without MIG on which somebody works."""
    busy = ProcessFound(pid=4242, name="python3", memory=GIB)
    plain = gpu(1, model="NVIDIA RTX 6000 Ada", mig=None, profiles=(), processes=(busy,))
    return SimulatedNvml((gpu(0, **facts), plain), driver="550.54.15")


Opened = Callable[..., Nvml]


@pytest.fixture(params=["simulated", "on paper"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Whatever stands for NVML, over the same two devices."""

    def open_one(**facts: object) -> Nvml:
        simulated = machine(**facts)
        nvml: Nvml = simulated if request.param == "simulated" else LibraryNvml(binding_over(simulated))
        nvml.open()
        return nvml

    return open_one


def refused(code: int) -> pytest.RaisesExc[NvmlError]:
    return pytest.raises(NvmlError, check=lambda error: error.code == code)


def test_the_devices_are_told_whole(opened: Opened) -> None:
    nvml = opened()
    first, second = nvml.gpus()
    assert nvml.driver_version() == "550.54.15"
    assert first == gpu(0) and nvml.gpu("GPU-0") == first
    assert second.mig is None and second.profiles == () and second.could_not_tell == {}
    assert [each.name for each in second.processes or ()] == ["python3"]


def test_an_instance_begins_where_it_was_asked_to(opened: Opened) -> None:
    nvml = opened()
    made = nvml.create_gpu_instance("GPU-0", ONE, 6)
    assert (made.profile, made.start, made.size) == ("1g.10gb", 6, 1)
    larger = nvml.create_gpu_instance("GPU-0", THREE, 0)
    assert nvml.instances("GPU-0") == (larger, made)
    assert nvml.gpu("GPU-0").instances == (larger, made)
    inner = nvml.create_compute_instance("GPU-0", made.id)
    assert inner.uuid.startswith("MIG-")
    assert nvml.instances("GPU-0")[1].compute_instances == (inner,)


@pytest.mark.parametrize(("profile_id", "start"), [(THREE, 4), (THREE, 1), (SEVEN, 0)])
def test_an_instance_never_overlaps_nor_begins_elsewhere(opened: Opened, profile_id: int, start: int) -> None:
    nvml = opened()
    before = nvml.create_gpu_instance("GPU-0", ONE, 6)
    with refused(INSUFFICIENT_RESOURCES):
        nvml.create_gpu_instance("GPU-0", profile_id, start)
    assert nvml.instances("GPU-0") == (before,)


def test_what_is_inside_goes_first(opened: Opened) -> None:
    nvml = opened()
    made = nvml.create_gpu_instance("GPU-0", ONE, 6)
    inner = nvml.create_compute_instance("GPU-0", made.id)
    with refused(IN_USE):
        nvml.destroy_gpu_instance("GPU-0", made.id)
    nvml.destroy_compute_instance("GPU-0", made.id, inner.id)
    nvml.destroy_gpu_instance("GPU-0", made.id)
    assert nvml.instances("GPU-0") == ()


def test_nothing_in_use_is_removed(opened: Opened) -> None:
    simulated = machine()
    instance = simulated.create_gpu_instance("GPU-0", ONE, 6)
    inner = simulated.create_compute_instance("GPU-0", instance.id)
    worker = ProcessFound(pid=7, name="train", memory=GIB, instance=instance.id, compute_instance=inner.id)
    nvml = opened(instances=simulated.instances("GPU-0"), processes=(worker,))
    assert nvml.processes("GPU-0") == (worker,) == nvml.gpu("GPU-0").running_on(instance.id)
    with refused(IN_USE):
        nvml.destroy_compute_instance("GPU-0", instance.id, inner.id)
    with refused(IN_USE):
        nvml.set_mig_mode("GPU-0", False)


@pytest.mark.parametrize(("capability", "current"), [("8.0", False), ("9.0", True)])
def test_ampere_needs_a_reset_to_switch_and_hopper_does_not(
    opened: Opened, capability: str, current: bool
) -> None:
    off = MigMode(current=False, pending=False)
    nvml = opened(mig=off, compute_capability=capability)
    assert nvml.gpus()[0].instances == () == nvml.instances("GPU-0")
    assert nvml.instances("GPU-1") == ()
    assert nvml.set_mig_mode("GPU-0", True) == MigMode(current=current, pending=True)
    assert nvml.mig_mode("GPU-0") == MigMode(current=current, pending=True)


def test_what_is_not_there_and_what_cannot_be_is_refused_by_name(opened: Opened) -> None:
    nvml = opened()
    with pytest.raises(NvmlError, match="find the device GPU-9") as caught:
        nvml.gpu("GPU-9")
    assert caught.value.code == NOT_FOUND and caught.value.exit_code == 10
    with refused(NOT_SUPPORTED):
        nvml.set_mig_mode("GPU-1", True)
    with refused(NOT_FOUND):
        nvml.destroy_gpu_instance("GPU-0", 5)
    with refused(NOT_SUPPORTED):
        nvml.create_gpu_instance("GPU-0", 77, 0)


def test_what_may_not_be_seen_is_said_to_be_unknown(opened: Opened) -> None:
    nvml = opened(instances=None)
    with refused(NO_PERMISSION):
        nvml.instances("GPU-0")
    assert nvml.gpus()[0].instances is None


def test_the_library_says_which_fact_was_refused_and_why() -> None:
    nvml = LibraryNvml(binding_over(machine(instances=None, processes=None)))
    nvml.open()
    assert nvml.gpus()[0].could_not_tell == {
        "instances": "Insufficient Permissions (NVML 4)",
        "processes": "Insufficient Permissions (NVML 4)",
    }


@pytest.mark.parametrize(
    ("text", "address"),
    [("00000000:65:00.0", "0000:65:00.0"), ("65:00.0", "0000:65:00.0"), ("0000:CA:00.0", "0000:ca:00.0")],
)
def test_one_way_to_write_a_pci_address(text: str, address: str) -> None:
    assert pci_address(text) == address


@pytest.fixture
def real() -> Iterator[Nvml]:
    nvml = LibraryNvml()
    try:
        nvml.open()
    except NvmlError as error:
        pytest.skip(f"there is no NVIDIA driver on this machine: {error.cause}")
    yield nvml
    nvml.close()


def test_the_real_one_answers_like_the_others(real: Nvml) -> None:
    assert real.driver_version()
    for found in real.gpus():
        assert found.model and found.uuid.startswith("GPU-") and found.memory > 0
        assert real.gpu(found.uuid).pci_address == found.pci_address
        assert pci_address(found.pci_address) == found.pci_address
        assert (found.mig is None) == (real.mig_mode(found.uuid) is None)
        for each in found.profiles:
            assert each.compute >= 1 and len(each.starts) >= each.maximum or not each.starts
        for instance in found.instances or ():
            profile = found.profile(instance.profile_id)
            assert profile is None or instance.start in profile.starts


def differences(gpu: GpuFound) -> list[str]:
    """Where the catalogue says otherwise than the driver; names of profiles change with the driver and do not count."""
    kind = kind_of(gpu.model)
    if kind is None:
        return [f"the catalogue does not know {gpu.model}"]
    known = {row.id: (row.compute, row.size, tuple(row.starts), row.maximum) for row in kind.profiles}
    told = {row.id: (row.compute, row.size, row.starts, row.maximum) for row in gpu.profiles if row.starts}
    return [
        f"{gpu.model}, profile {number}: the driver says {told[number]}, the catalogue {known.get(number)}"
        for number in told
        if told[number] != known.get(number)
    ]


def test_the_catalogue_agrees_with_the_real_one(real: Nvml) -> None:
    assert [line for found in real.gpus() for line in differences(found)] == []


@pytest.mark.parametrize(
    "file", RECORDED or [pytest.param(None, marks=pytest.mark.skip(reason=NOTHING_RECORDED))], ids=str
)
def test_the_catalogue_agrees_with_what_was_recorded(file: Path) -> None:
    machine = read_inventory(file)
    assert machine.origin == "recorded" and machine.gpus
    assert [line for found in machine.gpus for line in differences(found)] == []


def test_a_difference_would_be_seen() -> None:
    (found,) = parse_inventory('inventory: "1.0"\ngpus: [{model: a100-80}]\n', "one.yaml").gpus or ()
    assert differences(found) == []
    first, *others = found.profiles
    moved = first.model_copy(update={"starts": (0, 1)})
    (line,) = differences(found.model_copy(update={"profiles": (moved, *others)}))
    assert "profile 19: the driver says (1, 1, (0, 1), 7)" in line
    assert differences(gpu(0, model="NVIDIA Z9000")) == ["the catalogue does not know NVIDIA Z9000"]
