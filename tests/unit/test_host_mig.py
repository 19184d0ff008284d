"""Cutting GPUs: as asked, or as they were before, whatever fails and whenever."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_gpus import kind

from ai_how.errors import AiHowError, CouldNotTell, NotFound, StepFailed
from ai_how.host.geometry import Change, Journal, SavedGpu, SavedSlice, cut, geometry, read_journal, towards
from ai_how.host.gpus import (
    ComputeInstanceFound,
    GpuFound,
    InstanceFound,
    MigMode,
    ProcessFound,
    ProfileFound,
)
from ai_how.host.mig import Cutter, in_words, look, put_back
from ai_how.host.nvml import DRIVER_NOT_LOADED, IN_USE, LIBRARY_NOT_FOUND, NvmlError
from ai_how.host.simulated import SimulatedNvml

CHANGING = (
    "set_mig_mode", "create_gpu_instance", "destroy_gpu_instance",
    "create_compute_instance", "destroy_compute_instance",
)  # fmt: skip
A, B = "GPU-aaaa", "GPU-bbbb"


def gpu(
    uuid: str, *slices: tuple[str, int], model: str = "NVIDIA H100 80GB HBM3", **facts: object
) -> GpuFound:
    """A device with these slices on it; MIG is on, unless ``facts`` say otherwise."""
    rows = kind(model)
    found = GpuFound(
        model=model,
        uuid=uuid,
        compute_capability="8.0" if "A100" in model else "9.0",
        mig=MigMode(current=True, pending=True),
        profiles=tuple(
            ProfileFound(id=row.id, name=row.name, compute=row.compute, memory=row.memory_gb * 2**30,
                         maximum=row.maximum, size=row.size, starts=row.starts)
            for row in rows.profiles
        ),
    )  # fmt: skip
    instances = tuple(
        InstanceFound(id=number + 1, profile_id=row.id, profile=name, start=start, size=row.size,
                      compute_instances=(ComputeInstanceFound(id=0, profile_id=0),))
        for number, (name, start) in enumerate(sorted(slices, key=lambda pair: pair[1]))
        if (row := rows.profile(name))
    )  # fmt: skip
    return found.model_copy(update={"instances": instances, **facts})


def wanted(found: GpuFound, *slices: tuple[str, int], mig: bool = True) -> SavedGpu:
    ids = {profile.name: profile.id for profile in found.profiles}
    return cut(
        found,
        mig,
        tuple(
            SavedSlice(profile=name, profile_id=ids[name], start=start)
            for name, start in sorted(slices, key=lambda s: s[1])
        ),
    )


class Refusing:
    """A simulated NVML whose call number ``at`` that changes something fails, before or after it took effect."""

    def __init__(
        self, nvml: SimulatedNvml, at: int, *, late: bool, error: BaseException | None = None
    ) -> None:
        self.nvml, self.at, self.late, self.calls = nvml, at, late, 0
        self.error = error or NvmlError("do it", IN_USE, "In use by another client")

    def __getattr__(self, name: str) -> object:
        real = getattr(self.nvml, name)
        if name not in CHANGING:
            return real

        def call(*args: object) -> object:
            self.calls += 1
            if self.calls != self.at:
                return real(*args)
            if self.late:
                real(*args)
            raise self.error

        return call


BEFORE = (
    gpu(A, ("3g.40gb", 4), ("1g.10gb", 0), ("1g.10gb", 3)),
    gpu(B, mig=MigMode(current=False, pending=False)),
)
AFTER = (
    wanted(BEFORE[0], ("3g.40gb", 4), ("2g.20gb", 0), ("1g.10gb", 3)),
    wanted(BEFORE[1], ("4g.40gb", 0), ("1g.10gb", 6), ("1g.10gb+me", 5)),
)
NAMES = {A: "GPU-0", B: "GPU-1"}


def changes(found: Iterable[GpuFound] = BEFORE, asked: Iterable[SavedGpu] = AFTER) -> list[Change]:
    return [
        change
        for one, target in zip(found, asked, strict=True)
        for change in towards(one, target, NAMES[one.uuid], "the file asks for it")
    ]


def calls_of_the_whole() -> int:
    counting = Refusing(SimulatedNvml(BEFORE), 0, late=False)
    Cutter(counting, None, "gpu apply").cut(changes(), AFTER)  # type: ignore[arg-type]
    return counting.calls


ALL = calls_of_the_whole()


def test_the_changes_and_their_order() -> None:
    assert [change.text for change in changes()] == [
        "destroy 1g.10gb at 0 on GPU-0",
        "create 2g.20gb at 0 on GPU-0",
        "switch MIG on on GPU-1",
        "create 4g.40gb at 0 on GPU-1",
        "create 1g.10gb+me at 5 on GPU-1",
        "create 1g.10gb at 6 on GPU-1",
    ]
    assert not changes(BEFORE, [geometry(found) for found in BEFORE])


def test_a_slice_without_compute_instance_is_made_anew() -> None:
    found = gpu(A, ("1g.10gb", 6))
    bare = found.instances[0].model_copy(update={"compute_instances": ()})  # type: ignore[index]
    found = found.model_copy(update={"instances": (bare,)})
    target = [wanted(found, ("1g.10gb", 6))]
    assert [change.action for change in changes([found], target)] == ["destroy", "create"]
    nvml = SimulatedNvml([found])
    Cutter(nvml, None, "gpu apply").cut(changes([found], target), target)
    assert geometry(nvml.gpu(A)) == target[0]


def test_devices_are_cut_as_asked(tmp_path: Path) -> None:
    nvml, heard = SimulatedNvml(BEFORE), []
    file = tmp_path / "gpu" / "journal.json"
    Cutter(nvml, file, "gpu apply", heard=heard.append).cut(changes(), AFTER)
    assert [geometry(nvml.gpu(one.uuid)) for one in AFTER] == list(AFTER)
    assert heard == changes()
    kept = next(each for each in nvml.instances(A) if each.start == 4)
    assert kept.id == 3, "what stays is not touched"
    journal = read_journal(file.read_text(), str(file))
    assert journal.outcome == "done" and {line.outcome for line in journal.changes} == {"done"}
    assert list(journal.saved) == [geometry(found) for found in BEFORE]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("late", [False, True], ids=["refused", "done, and then refused"])
@pytest.mark.parametrize("at", range(1, ALL + 1))
def test_whatever_fails_the_geometry_is_as_before(at: int, late: bool, tmp_path: Path) -> None:
    nvml = SimulatedNvml(BEFORE)
    cutter = Cutter(Refusing(nvml, at, late=late), tmp_path / "journal.json", "gpu apply")  # type: ignore[arg-type]
    with pytest.raises(StepFailed, match="the geometry from before is restored") as failure:
        cutter.cut(changes(), AFTER)
    assert [geometry(nvml.gpu(found.uuid)) for found in BEFORE] == [geometry(found) for found in BEFORE]
    assert "In use by another client" in (failure.value.cause or "")
    outcomes = [line.outcome for line in cutter.journal.changes]
    assert cutter.journal.outcome == "restored" and outcomes.count("failed") == 1


@pytest.mark.parametrize("at", range(1, ALL + 1, 3))
def test_an_interruption_restores_and_is_passed_on(at: int) -> None:
    nvml = SimulatedNvml(BEFORE)
    with pytest.raises(KeyboardInterrupt):
        Cutter(Refusing(nvml, at, late=True, error=KeyboardInterrupt()), None, "gpu apply").cut(  # type: ignore[arg-type]
            changes(), AFTER
        )
    assert [geometry(nvml.gpu(found.uuid)) for found in BEFORE] == [geometry(found) for found in BEFORE]


PLACES = [(row.name, start) for row in kind("h100").profiles for start in row.starts]


def legal(asked: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those of ``asked`` that fit one after another on an H100."""
    nvml = SimulatedNvml([gpu(A)])
    ids = {profile.name: profile.id for profile in nvml.gpu(A).profiles}
    found = []
    for name, start in asked:
        try:
            nvml.create_gpu_instance(A, ids[name], start)
        except NvmlError:
            continue
        found.append((name, start))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(PLACES), max_size=9),
    st.lists(st.sampled_from(PLACES), max_size=9),
    st.booleans(),
    st.integers(1, 30),
    st.booleans(),
)
def test_from_any_geometry_to_any_other_all_or_nothing(
    first: list[tuple[str, int]], last: list[tuple[str, int]], mig: bool, at: int, late: bool
) -> None:
    before, after = gpu(A, *legal(first)), legal(last) if mig else []
    target = [wanted(before, *after, mig=mig)]
    nvml = SimulatedNvml([before])
    try:
        Cutter(Refusing(nvml, at, late=late), None, "gpu apply").cut(changes([before], target), target)  # type: ignore[arg-type]
    except StepFailed:
        assert geometry(nvml.gpu(A)) == geometry(before)
    else:
        assert geometry(nvml.gpu(A)) == target[0]


def test_a_read_back_that_disagrees_restores() -> None:
    class Elsewhere(SimulatedNvml):
        """Puts what is created at 6 to 5, and says nothing."""

        def create_gpu_instance(self, device: str, profile_id: int, start: int) -> InstanceFound:
            return super().create_gpu_instance(device, profile_id, 4 if start == 6 else start)

    nvml = Elsewhere(BEFORE)
    with pytest.raises(StepFailed, match="reads back otherwise") as failure:
        Cutter(nvml, None, "gpu apply").cut(changes(), AFTER)
    assert "1g.10gb at 4" in (failure.value.cause or "")
    assert [geometry(nvml.gpu(found.uuid)) for found in BEFORE] == [geometry(found) for found in BEFORE]


def test_a_restore_that_fails_too_says_so_and_names_the_file(tmp_path: Path) -> None:
    class Broken(SimulatedNvml):
        def create_gpu_instance(self, device: str, profile_id: int, start: int) -> InstanceFound:
            raise NvmlError("create anything", 999, "Unknown Error")

    file = tmp_path / "journal.json"
    cutter = Cutter(Broken(BEFORE), file, "gpu apply")
    with pytest.raises(StepFailed, match="could not be restored") as failure:
        cutter.cut(changes(), AFTER)
    assert A in (failure.value.detail or "") and B not in (failure.value.detail or "")
    assert f"--restore {file}" in (failure.value.todo or "")
    assert read_journal(file.read_text(), "x").outcome == "not restored"


def test_what_was_saved_can_be_put_back_later(tmp_path: Path) -> None:
    nvml, file = SimulatedNvml(BEFORE), tmp_path / "journal.json"
    Cutter(nvml, file, "gpu apply").cut(changes(), AFTER)
    for saved in read_journal(file.read_text(), "x").saved:
        put_back(nvml, saved)
        put_back(nvml, saved)
    assert [geometry(nvml.gpu(found.uuid)) for found in BEFORE] == [geometry(found) for found in BEFORE]


@pytest.mark.parametrize("instance", [None, 3, 1])
def test_nothing_is_touched_while_anything_runs_there(instance: int | None) -> None:
    process = ProcessFound(pid=4711, name="python", instance=instance)
    busy = (BEFORE[0].model_copy(update={"processes": (process,)}), BEFORE[1])
    nvml = Refusing(SimulatedNvml(busy), 0, late=False)
    with pytest.raises(AiHowError, match="nothing was touched") as failure:
        Cutter(nvml, None, "gpu apply").cut(changes(busy), AFTER)  # type: ignore[arg-type]
    assert nvml.calls == 0
    place = {None: "GPU-0", 3: "3g.40gb at 4 of GPU-0", 1: "1g.10gb at 0 of GPU-0"}[instance]
    assert failure.value.detail == f"process 4711 (python) on {place}"


def test_work_on_a_device_that_does_not_change_is_no_hindrance() -> None:
    process = ProcessFound(pid=4711, instance=1)
    found = (BEFORE[0].model_copy(update={"processes": (process,)}), BEFORE[1])
    nvml = SimulatedNvml(found)
    Cutter(nvml, None, "gpu apply").cut(changes(found[1:], AFTER[1:]), AFTER[1:])
    assert geometry(nvml.gpu(B)) == AFTER[1]


@pytest.mark.parametrize("fact", ["processes", "instances"])
def test_what_could_not_be_told_is_no_permission(fact: str) -> None:
    found = (BEFORE[0].model_copy(update={fact: None}), BEFORE[1])
    nvml = Refusing(SimulatedNvml(found), 0, late=False)
    with pytest.raises(CouldNotTell):
        Cutter(nvml, None, "gpu apply").cut(changes(), AFTER)  # type: ignore[arg-type]
    assert nvml.calls == 0


def test_a_slice_cut_further_by_hand_is_left_alone() -> None:
    two = tuple(ComputeInstanceFound(id=number, profile_id=0) for number in (0, 1))
    instance = BEFORE[0].instances[0].model_copy(update={"compute_instances": two})  # type: ignore[index]
    with pytest.raises(AiHowError, match="shared by several compute instances"):
        geometry(BEFORE[0].model_copy(update={"instances": (instance,)}))


def test_a_device_that_needs_a_reset_says_so_and_stays_as_it_was() -> None:
    found = gpu(A, model="NVIDIA A100-SXM4-80GB", mig=MigMode(current=False, pending=False))
    nvml = SimulatedNvml([found])
    target = [wanted(found, ("1g.10gb", 6))]
    with pytest.raises(StepFailed, match="only by a reset") as failure:
        Cutter(nvml, None, "gpu apply").cut(changes([found], target), target)
    assert "--gpu-reset" in (failure.value.todo or "")
    assert nvml.gpu(A).mig == MigMode(current=False, pending=False)


def test_a_switch_off_may_wait_for_the_next_reset_when_that_was_said() -> None:
    found = gpu(A, ("1g.10gb", 0), model="NVIDIA A100-SXM4-80GB")
    nvml = SimulatedNvml([found])
    target = [cut(found, False)]
    Cutter(nvml, None, "gpu cleanup", later=True).cut(changes([found], target), target)
    assert nvml.gpu(A).mig == MigMode(current=True, pending=False)
    assert not nvml.instances(A)


def test_a_switch_that_somebody_left_pending_is_put_back_pending() -> None:
    found = gpu(A, model="NVIDIA A100-SXM4-80GB", mig=MigMode(current=False, pending=True))
    nvml = SimulatedNvml([found])
    target = [wanted(found, ("1g.10gb", 6))]
    with pytest.raises(StepFailed):
        Cutter(nvml, None, "gpu apply").cut(changes([found], target), target)
    assert nvml.gpu(A).mig == MigMode(current=False, pending=True)
    assert in_words(geometry(found)) == "MIG off, on after the next reset"


def test_a_full_disk_stops_before_the_first_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    nvml = Refusing(SimulatedNvml(BEFORE), 0, late=False)
    with pytest.raises(OSError, match="file"):
        Cutter(nvml, tmp_path / "file" / "journal.json", "gpu apply").cut(changes(), AFTER)  # type: ignore[arg-type]
    assert nvml.calls == 0


class Without:
    def __init__(self, code: int) -> None:
        self.code = code

    def open(self) -> None:
        raise NvmlError("begin", self.code, "Driver Not Loaded")


@pytest.mark.parametrize("code", [LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED])
def test_a_machine_without_a_driver(code: int) -> None:
    with pytest.raises(NotFound, match="no NVIDIA GPU to change") as failure:
        look(Without(code))  # type: ignore[arg-type]
    assert "Driver Not Loaded" in (failure.value.cause or "")
    with pytest.raises(NvmlError):
        look(Without(999))  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        look(SimulatedNvml(()))
    assert look(SimulatedNvml(BEFORE)) == BEFORE


@pytest.mark.parametrize("text", ["", "{}", '{"journal": "2.0"}', "[1]"])
def test_a_file_that_is_no_journal(text: str) -> None:
    with pytest.raises(AiHowError, match="no saved geometry") as failure:
        read_journal(text, "there.json")
    assert failure.value.where == "there.json" and failure.value.todo


def test_a_journal_reads_as_it_was_written() -> None:
    journal = Journal(command="gpu apply", begun="2026-01-01T00:00:00+00:00", saved=AFTER)
    assert read_journal(journal.model_dump_json(), "x") == journal
