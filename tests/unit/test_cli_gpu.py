"""`ai-how gpu`: what it prints, what it refuses, and what it does to simulated devices."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from sample_gpus import GOLDEN, same

from ai_how.cli import main
from ai_how.gpu.repartition import repartition
from ai_how.host.geometry import geometry, read_journal
from ai_how.host.gpus import GpuFound, InstanceFound, MigMode, ProcessFound
from ai_how.host.machine import Machine
from ai_how.host.nvml import IN_USE, LIBRARY_NOT_FOUND, NvmlError
from ai_how.host.recorded import parse_inventory
from ai_how.host.simulated import SimulatedNvml
from ai_how.site.cutting import to_apply
from ai_how.site.gpus import gpus_of
from ai_how.spec import parse
from ai_how.spec.template import template

INVENTORY = """\
inventory: "1.0"
gpus:
  - {model: NVIDIA H100 80GB HBM3, pci_address: "0000:65:00.0", mig: true}
  - {model: NVIDIA RTX 6000 Ada Generation, pci_address: "0000:CA:00.0"}
  - {model: NVIDIA H100 80GB HBM3, pci_address: "0000:e1:00.0", mig: true}
system: {modules: [nvidia]}
"""
SEVEN = [("1g.10gb", start) for start in range(7)]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the workstation's file, on H100s, and an inventory that fits it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_HOW_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AI_HOW_FILE", raising=False)
    text = template("workstation", "work").replace("NVIDIA A100 80GB", "NVIDIA H100 80GB HBM3")
    (tmp_path / "cluster.yaml").write_text(
        text.replace('"NVIDIA RTX 6000"', '"NVIDIA RTX 6000 Ada Generation"')
    )
    (tmp_path / "there.yaml").write_text(INVENTORY)
    return tmp_path


def real(monkeypatch: pytest.MonkeyPatch, **facts: object) -> SimulatedNvml:
    """The driver of this machine from now on; ``facts`` are of its first device."""
    first, *others = parse_inventory(INVENTORY, "x").gpus or ()
    nvml = SimulatedNvml([first.model_copy(update=facts), *others])
    monkeypatch.setattr("ai_how.host.nvml_library.LibraryNvml", lambda: nvml)
    return nvml


def there(nvml: SimulatedNvml) -> list[tuple[str, int]]:
    return [(one.profile, one.start) for one in geometry(nvml.gpus()[0]).slices]


def journals(place: Path) -> list[Path]:
    return sorted((place / "home" / "gpu").glob("*.json"))


def slices(*asked: tuple[str, int]) -> tuple[InstanceFound, ...]:
    nvml = SimulatedNvml([parse_inventory(INVENTORY, "x").gpus[0]])  # type: ignore[index]
    (found,) = nvml.gpus()
    ids = {profile.name: profile.id for profile in found.profiles}
    for name, start in asked:
        made = nvml.create_gpu_instance(found.uuid, ids[name], start)
        nvml.create_compute_instance(found.uuid, made.id)
    return nvml.instances(found.uuid)


def test_plan_draws_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "plan"]) == 0
    out = capsys.readouterr().out
    assert out.isascii() and out.count("|1g.10gb ") == 7
    assert "GPU-1   whole           gpu-worker01  whole_gpus.cloud" in out
    assert max(len(line) for line in out.split("device  slice")[0].splitlines()) <= 80


def test_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "plan", "--inventory", "there.yaml", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(row["profile"], row["start"]) for row in facts["ledger"]][:7] == SEVEN
    assert facts["ledger"][7]["owner"] == "gpu-worker01" and facts["ledger"][7]["profile"] is None
    assert facts["devices"][0]["kind"] == "h100-80" and facts["warnings"] == []


def test_plan_writes_the_picture(place: Path) -> None:
    assert main(["gpu", "plan", "--svg", "gpus.svg"]) == 0
    root = ET.parse(place / "gpus.svg").getroot()
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "GPUs of work"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("drawing.txt", []),
        ("mig-parted.yaml", ["--format", "mig-parted"]),
        ("nvidia-smi.sh", ["--format", "nvidia-smi"]),
        ("gres.conf", ["--format", "gres"]),
        ("device-plugin.yaml", ["--format", "kubernetes"]),
        ("mdev_map.json", ["--format", "mdev"]),
        ("plan.json", ["--json"]),
    ],
)
def test_the_workstation_is_told_as_the_reference_shows(
    name: str, options: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "cluster.yaml").write_text(template("workstation", "work"))
    assert main(["gpu", "plan", *options]) == 0
    out = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n"
    same(f"workstation/{name}", out)


def test_the_reference_shows_the_picture(place: Path) -> None:
    (place / "cluster.yaml").write_text(template("workstation", "work"))
    assert main(["gpu", "plan", "--svg", "gpus.svg"]) == 0
    same("../../../docs/images/gpus.svg", (place / "gpus.svg").read_text())


def test_the_reference_shows_the_golden_files() -> None:
    page = (GOLDEN.parents[2] / "docs" / "reference" / "gpu-outputs.md").read_text()
    for file in sorted((GOLDEN / "workstation").iterdir()):
        text = "".join(file.read_text().splitlines(keepends=True)[:27])
        assert file.name == "plan.json" or f"```text\n{text}" in page, file.name


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("mig-parted", '"1g.10gb": 7'),
        ("nvidia-smi", "-cgi 19:0,19:1,19:2,19:3,19:4,19:5,19:6 -C"),
        ("gres", "NodeName=node01 Gres=gpu:nvidia_h100_80gb_hbm3_1g.10gb:1"),
        ("kubernetes", "mixed: nvidia.com/mig-1g.10gb: 1"),
        ("mdev", '"sharing": "none"'),
    ],
)
def test_plan_for_other_tools(form: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "plan", "--inventory", "there.yaml", "--format", form]) == 0
    assert words in capsys.readouterr().out


def test_plan_warns_of_devices_that_the_inventory_has_not(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "there.yaml").write_text('inventory: "1.0"\ngpus: []\n')
    assert main(["gpu", "plan", "--inventory", "there.yaml"]) == 0
    assert "GPU-0 at 0000:65:00.0 is not in the inventory" in capsys.readouterr().err


def test_plan_says_what_does_not_fit_and_what_to_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = place / "cluster.yaml"
    file.write_text(file.read_text().replace("mig_slices: {hpc: 4,", "mig_slices: {hpc: 5,"))
    assert main(["gpu", "plan", "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert "mig_slices" in facts["message"] + facts.get("detail", "") and facts["todo"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            [
                "All of it fits; no slice is left.",
                "Without mig_slices.hpc the largest slice left is 3g.40gb.",
            ],
        ),
        (["3g.40gb"], ["No 3g.40gb fits beside", "It would without mig_slices.hpc."]),
        (["1g.10gb"], ["It would with one less of mig_slices.cloud."]),
        (["whole_gpus.cloud"], ["whole_gpus.cloud (a whole device) has GPU-1."]),
        (["mig_slices.cloud"], ["1g.10gb at 4 on GPU-0, 1g.10gb at 5 on GPU-0 and 1g.10gb at 6 on GPU-0"]),
    ],
)
def test_explain(words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "explain", *words]) == 0
    out = capsys.readouterr().out
    assert all(line in out for line in said)
    assert main(["gpu", "explain", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_explain_says_how_many_more_fit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = place / "cluster.yaml"
    file.write_text(file.read_text().replace("{hpc: 4,", "{hpc: 1,").replace("count: 4 ", "count: 1 "))
    assert main(["gpu", "explain", "1g.10gb"]) == 0
    assert "3 more of 1g.10gb fit beside all that the file asks for." in capsys.readouterr().out


def test_explain_says_what_stands_in_the_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = place / "cluster.yaml"
    file.write_text(file.read_text().replace("mig_slices: {hpc: 4,", "mig_slices: {hpc: 5,"))
    assert main(["gpu", "explain"]) == 0
    out = capsys.readouterr().out
    assert "It does not fit: mig_slices.hpc (5 of" in out and "The nearest that fits: " in out
    assert "Without mig_slices.cloud all the rest fits." in out
    assert main(["gpu", "explain", "mig_slices.hpc"]) == 0
    assert "Alone it fits." in capsys.readouterr().out
    assert main(["gpu", "explain", "whole_gpus.cloud"]) == 0
    assert "not because of whole_gpus.cloud" in capsys.readouterr().out


def test_explain_knows_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "explain", "9g.90gb"]) == 8
    assert "mig_slices.hpc" in capsys.readouterr().err


def test_a_file_without_gpus(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "cluster.yaml").write_text(template("laptop", "small"))
    assert main(["gpu", "plan"]) == 8
    assert "global.gpu_allocation.devices" in capsys.readouterr().err


def test_inventory_of_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "inventory", "--inventory", "there.yaml"]) == 0
    out = capsys.readouterr().out
    assert "GPU 2  NVIDIA H100 80GB HBM3  0000:e1:00.0" in out and "3g.40gb (id 9) {0,4}:4" in out
    assert main(["gpu", "inventory", "--inventory", "there.yaml", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["outcome"] == "found" and facts["gpus"][0]["profiles"]


def test_no_gpu_is_an_answer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "none.yaml").write_text('inventory: "1.0"\npci_devices: []\ngpus: []\n')
    assert main(["gpu", "inventory", "--inventory", "none.yaml"]) == 0
    assert "no NVIDIA device" in capsys.readouterr().out


def test_apply_cuts_and_a_second_time_has_nothing_to_do(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvml = real(monkeypatch, instances=slices(("3g.40gb", 4)))
    assert main(["gpu", "apply", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "1  destroy 3g.40gb at 4 on GPU-0" in out and "nobody uses it" in out
    assert there(nvml) == SEVEN
    assert not geometry(nvml.gpus()[2]).slices, "a device that the file does not name is never touched"
    (file,) = journals(place)
    assert str(file) in out and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_journal(file.read_text(), "x").outcome == "done"
    assert main(["gpu", "apply"]) == 0
    assert "Nothing to do" in capsys.readouterr().out and journals(place) == [file]


@pytest.mark.parametrize(
    "there_now",
    [(), (("7g.80gb", 0),), (("3g.40gb", 0), ("3g.40gb", 4)), (("1g.10gb", 0), ("2g.20gb", 2)), tuple(SEVEN)],
    ids=str,
)
@pytest.mark.parametrize("mig", [True, False])
def test_the_changes_are_those_that_the_planner_decides(
    there_now: tuple[tuple[str, int], ...], mig: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = MigMode(current=mig, pending=mig)
    nvml = real(monkeypatch, instances=slices(*there_now) if mig else (), mig=mode)
    spec = parse(Path("cluster.yaml").read_text()).spec
    cutting = to_apply(spec, nvml)
    gpus = tuple(gpu for gpu in nvml.gpus() if gpu.uuid in cutting.names)
    allocation = gpus_of(spec, Machine(inventory="1.0", gpus=gpus)).allocation
    acts = repartition(allocation.devices, allocation.placement)
    doing = {(act.text, act.why) for act in acts if act.verb not in ("keep", "drain", "reset")}
    assert {(change.text, change.why) for change in cutting.changes} == doing


def test_apply_asks_first(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvml = real(monkeypatch)
    assert main(["gpu", "apply"]) == 2
    assert "nobody to ask" in capsys.readouterr().err and not there(nvml)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert main(["gpu", "apply"]) == 1
    assert "Nothing was changed" in capsys.readouterr().out and not there(nvml)
    monkeypatch.setattr("builtins.input", lambda _: " Yes ")
    assert main(["gpu", "apply"]) == 0
    assert there(nvml) == SEVEN


def test_apply_refuses_while_anything_runs_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = (ProcessFound(pid=4711, name="python", instance=1),)
    nvml = real(monkeypatch, instances=slices(("3g.40gb", 4)), processes=busy)
    assert main(["gpu", "apply", "--yes", "--json"]) != 0
    assert json.loads(capsys.readouterr().out)["message"]
    assert there(nvml) == [("3g.40gb", 4)]


def test_apply_restores_when_a_step_fails(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvml = real(monkeypatch, instances=slices(("3g.40gb", 4)))
    create = nvml.create_gpu_instance

    def failing(device: str, profile_id: int, start: int) -> InstanceFound:
        if start == 5:
            raise NvmlError("create it", IN_USE, "In use by another client")
        return create(device, profile_id, start)

    monkeypatch.setattr(nvml, "create_gpu_instance", failing)
    assert main(["gpu", "apply", "--yes"]) == 6
    assert "the geometry from before is restored" in capsys.readouterr().err
    assert there(nvml) == [("3g.40gb", 4)]
    assert read_journal(journals(place)[0].read_text(), "x").outcome == "restored"


def test_a_command_that_was_cut_off_is_told_of(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real(monkeypatch)
    assert main(["gpu", "apply", "--yes"]) == 0
    (file,) = journals(place)
    file.write_text(
        file.read_text().replace('"outcome": "done",\n  "saved"', '"outcome": "begun",\n  "saved"')
    )
    assert main(["gpu", "apply"]) == 0
    assert f"how it was before is saved in {file}" in " ".join(capsys.readouterr().err.split())


def test_a_device_that_is_not_there_or_another_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvml = real(monkeypatch, pci_address="0000:99:00.0")
    assert main(["gpu", "apply", "--yes"]) == 8
    assert "GPU-0 at 0000:65:00.0 is not among this machine's GPUs" in capsys.readouterr().err
    real(monkeypatch, model="NVIDIA A100-SXM4-40GB")
    assert main(["gpu", "apply", "--yes"]) == 1
    assert "another card than the file says" in capsys.readouterr().err
    assert not there(nvml) and not journals(place)


def test_a_machine_without_nvidia(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvml = real(monkeypatch)

    def refuse() -> None:
        raise NvmlError("begin", LIBRARY_NOT_FOUND, "NVML Shared Library Not Found")

    monkeypatch.setattr(nvml, "open", refuse)
    for verb in ("apply", "cleanup"):
        assert main(["gpu", verb, "--yes"]) == 8
        assert "this machine has no NVIDIA GPU to change" in capsys.readouterr().err


def test_a_rehearsal_changes_nothing_and_needs_no_yes(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gpu", "apply", "--inventory", "there.yaml"]) == 0
    assert "nothing real was changed" in capsys.readouterr().out and not journals(place)
    assert main(["gpu", "apply", "--inventory", "there.yaml", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["rehearsal"] and facts["journal"] is None and len(facts["changes"]) == 7


def test_cleanup_saves_asks_removes_and_restores(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvml = real(monkeypatch, instances=slices(("3g.40gb", 4), ("1g.10gb", 0)))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "")
    assert main(["gpu", "cleanup"]) == 1
    (file,) = journals(place)
    assert read_journal(file.read_text(), "x").outcome == "saved", "saved before it is asked"
    assert there(nvml) == [("1g.10gb", 0), ("3g.40gb", 4)]
    assert main(["gpu", "cleanup", "--yes"]) == 0
    assert geometry(nvml.gpus()[0]).mig is False and not there(nvml)
    assert geometry(nvml.gpus()[2]).mig is True, "the file does not name it"
    capsys.readouterr()
    assert main(["gpu", "cleanup", "--restore", str(journals(place)[-1]), "--yes"]) == 0
    assert there(nvml) == [("1g.10gb", 0), ("3g.40gb", 4)]
    assert "it was so when gpu cleanup began" in capsys.readouterr().out


def test_restoring_wants_a_file_of_ours(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real(monkeypatch)
    assert main(["gpu", "cleanup", "--restore", "nowhere.json", "--yes"]) == 8
    assert main(["gpu", "cleanup", "--restore", "there.yaml", "--yes"]) == 1
    assert not journals(place)


def test_cleaning_where_nothing_is_left_to_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real(monkeypatch, mig=MigMode(current=False, pending=False))
    assert main(["gpu", "cleanup"]) == 0
    assert "Nothing to do" in capsys.readouterr().out


def test_whom_nobody_may_ask_is_not_taken_for_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = real(monkeypatch, processes=None)
    assert main(["gpu", "apply", "--yes"]) == 9
    assert not there(nvml)


def test_older_drivers_call_profiles_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    found: GpuFound = parse_inventory(INVENTORY, "x").gpus[0]  # type: ignore[index]
    older = {"1g.10gb": "1g.9gb"}
    profiles = tuple(p.model_copy(update={"name": older.get(p.name, p.name)}) for p in found.profiles)
    nvml = real(monkeypatch, profiles=profiles)
    assert main(["gpu", "apply", "--yes"]) == 0
    assert there(nvml) == [("1g.9gb", start) for start in range(7)]
