"""What NVML told, as the planner takes it: its facts, under the catalogue's names."""

from __future__ import annotations

import pytest
from sample_gpus import kind

from ai_how.gpu.model import Held, Slice
from ai_how.gpu.render import SHARING, Sharing
from ai_how.host.devices import device_found, kind_found, renamed, sharing_of, told_of
from ai_how.host.gpus import GpuFound, InstanceFound, MigMode, ProcessFound, ProfileFound
from ai_how.host.machine import Machine
from ai_how.host.recorded import profiles_of
from ai_how.host.system import MODULES

ON = MigMode(current=True, pending=True)
A100 = GpuFound(
    model="NVIDIA A100-SXM4-80GB", uuid="GPU-a", mig=ON, profiles=profiles_of(kind("NVIDIA A100-SXM4-80GB"))
)


def changed(**facts: object) -> GpuFound:
    return A100.model_copy(update=facts)


def test_a_known_card_is_its_kind() -> None:
    assert kind_found(A100) == kind("NVIDIA A100-SXM4-80GB")


def test_profiles_that_the_driver_has_not_are_not_there() -> None:
    older = tuple(p for p in A100.profiles if p.name != "1g.20gb")
    names = [row.name for row in kind_found(changed(profiles=older)).profiles]
    assert "1g.20gb" not in names and len(names) == len(A100.profiles) - 1


def test_starts_are_nvmls_and_names_the_catalogues() -> None:
    odd = tuple(
        p.model_copy(update={"name": "7g.79gb", "starts": (0,)}) if p.id == 0 else p for p in A100.profiles
    )
    odd = tuple(p.model_copy(update={"starts": (0, 4, 5)}) if p.id == 19 else p for p in odd)
    found = kind_found(changed(profiles=odd))
    assert found.profile("7g.80gb") is not None and found.profile("7g.79gb") is None
    assert found.profile("1g.10gb").starts == (0, 4, 5)  # type: ignore[union-attr]


def test_where_the_driver_did_not_tell_the_catalogue_stands() -> None:
    assert kind_found(changed(profiles=())) == kind("NVIDIA A100-SXM4-80GB")


def test_a_card_without_mig_has_no_profiles() -> None:
    assert kind_found(changed(mig=None)).profiles == ()


def test_a_card_that_nobody_knows_is_what_nvml_says() -> None:
    rows = (
        ProfileFound(id=5, name="2g.50gb", compute=2, memory=50 * 2**30, maximum=2, size=3, starts=(0, 3)),
        ProfileFound(id=0, name="4g.100gb", compute=4, memory=100 * 2**30, maximum=1, size=6, starts=(0,)),
    )
    found = kind_found(GpuFound(model="NVIDIA X9 Giga", memory=100 * 2**30, mig=ON, profiles=rows))
    assert (found.short, found.memory_gb, found.compute_slices, found.memory_slices) == ("x9_giga", 100, 4, 6)
    assert {row.name: row.memory_gb for row in found.profiles} == {"2g.50gb": 50, "4g.100gb": 100}


def test_who_runs_there_is_a_consumer_of_his_own() -> None:
    instances = (
        InstanceFound(id=1, profile_id=19, profile="1g.10gb", start=0, size=1),
        InstanceFound(id=2, profile_id=0, profile="whatever", start=0, size=8),
    )
    running = (ProcessFound(pid=9, instance=2), ProcessFound(pid=7, instance=2))
    device = device_found(changed(instances=instances, processes=running))
    assert device.held == (
        Held(Slice("GPU-a", 0, "1g.10gb"), None, False),
        Held(Slice("GPU-a", 0, "7g.80gb"), "process 7, 9", True),
    )
    assert device.whole_for is None
    named = renamed(device, "GPU-0")
    assert named.id == "GPU-0" and {held.slice.device for held in named.held} == {"GPU-0"}


def test_who_runs_on_the_whole_of_it() -> None:
    device = device_found(changed(mig=None, processes=(ProcessFound(pid=7),)))
    assert (device.whole_for, device.whole_running, device.mig) == ("process 7", True, False)


def test_what_nobody_could_tell_is_nothing_held() -> None:
    assert device_found(changed(instances=None, processes=None)).held == ()


def test_what_the_renderers_want_to_know() -> None:
    told = told_of(changed(index=3))
    assert (told.index, told.product, told.memory_mib["1g.10gb"]) == (3, "NVIDIA A100-SXM4-80GB", 10240)
    assert told_of(A100, simulated=True).memory_mib == {}


@pytest.mark.parametrize(
    ("modules", "sharing"),
    [
        (None, "unknown"),
        ((), "none"),
        (("nvidia", "mdev"), "none"),
        (("nvidia", "nvidia_vgpu_vfio", "mdev"), "mediated-device"),
        (("nvidia", "nvidia_vgpu_vfio"), "virtual-function"),
    ],
)
def test_how_slices_reach_virtual_machines(modules: tuple[str, ...] | None, sharing: Sharing) -> None:
    machine = Machine(inventory="1.0", system={"modules": modules})  # type: ignore[arg-type]
    assert sharing_of(machine) == sharing and SHARING[sharing]
    assert set(modules or ()) <= set(MODULES), "the probe must look for what is asked here"
