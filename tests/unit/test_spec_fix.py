"""Repairs of what has exactly one right answer, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_how.cli import main
from ai_how.errors import SpecError
from ai_how.gpu.fixes import profiles
from ai_how.spec import parse
from ai_how.spec.fix import fix
from ai_how.spec.template import PURPOSES, template

BASE = """\
# The lab
version: "1.0"
metadata: {name: lab}   # ours
global:
  gpu_allocation:
    devices:
      - {id: GPU-0, pci_address: "0000:65:00.0", model: "NVIDIA A100 80GB", mig_capable: true}
    strategy: hybrid
    mig_slices: {hpc: 4}
clusters:
  hpc:
    provider: local
    compute_nodes:
      count: 4      # four
      cpu_cores: 8
      memory_gb: 16
      gpu_enabled: true
    slurm_config:
      partitions:
        - gpu       # all
        - {name: debug, max_time: "00:30:00"}
      default_partition: gpu
      max_job_time: "24:00:00"
"""


def test_what_is_right_is_left_alone() -> None:
    assert parse(BASE)
    assert fix(BASE, also=(profiles,)).done == ()
    for kind in PURPOSES:
        fixed = fix(template(kind), also=(profiles,))
        assert (fixed.text, fixed.done) == (template(kind), ())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("count: 4", "cuont: 4"),
        ("count: 4", "Count: 4"),
        ("count: 4 ", 'count: "4" '),
        ("count: 4", "count: 4.0"),
        ("cpu_cores: 8", "cpu-cores: 8"),
        ("cpu_cores: 8", "cpuCores: 8"),
        ("cpu_cores: 8", "cpus: 8"),
        ("memory_gb: 16", "memory_gb: 16GB"),
        ("memory_gb: 16", 'memory_gb: "16 GiB"'),
        ("memory_gb: 16", "memory: 16"),
        ("gpu_enabled: true", "gpu_enabled: yes"),
        ("gpu_enabled: true", "gpu_enabled: 'True'"),
        ("global:", "Global:"),
        ("slurm_config:", "slurm:"),
        ("slurm_config:", "slurm_conf:"),
        ("compute_nodes:", "nodes:"),
        ('version: "1.0"', "version: 1.0"),
        ('version: "1.0"', "version: 1"),
        ("provider: local", "provider: Local"),
        ("provider: local", "provider: locl"),
        ("strategy: hybrid", "strategy: HYBRID"),
        ("name: lab}", "name: LAB}"),
        ("default_partition: gpu", "default_partition: gpuu"),
        ('"0000:65:00.0"', '"00000000:65:00.0"'),
        ('"0000:65:00.0"', '"65:00.0"'),
        ('max_job_time: "24:00:00"', "max_job_time: 24:00:00"),
        ('max_job_time: "24:00:00"', "max_job_time: 24h"),
        ("        - gpu       # all\n", "        - gpu       # all\n        - gpu\n"),
        (", mig_capable: true", ", mig_capable: true, mig_capabel: true"),
    ],
)
def test_one_right_answer(right: str, wrong: str) -> None:
    text = BASE.replace(right, wrong, 1)
    assert text != BASE
    fixed = fix(text, also=(profiles,))
    if "mig_capabel" in wrong:  # the right key is there already: which of the two is meant?
        assert fixed.text == text
        return
    assert parse(fixed.text).spec == parse(BASE).spec
    assert len(fixed.done) == 1
    # Everything but the line that was wrong is as it was; a line that was there twice is gone.
    changed = [
        pair for pair in zip(fixed.text.splitlines(), BASE.splitlines(), strict=True) if pair[0] != pair[1]
    ]
    assert len(changed) <= 1
    assert [line.count("#") for line in fixed.text.splitlines()] == [
        line.count("#") for line in BASE.splitlines()
    ]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("count: 4", "c: 4"),
        ("count: 4", "count: four"),
        ("count: 4", "count: -4"),
        ("memory_gb: 16", "memory_gb: 16MB"),
        ("provider: local", "provider: docker"),
        ('"24:00:00"', "soon"),
        ("name: lab}", "name: '?'}"),
        ("default_partition: gpu", "default_partition: cpu-or-so"),
        ('version: "1.0"', 'version: "2.0"'),
    ],
)
def test_what_could_mean_several_things_is_left_to_its_writer(right: str, wrong: str) -> None:
    text = BASE.replace(right, wrong, 1)
    assert fix(text, also=(profiles,)).text == text
    with pytest.raises(SpecError):
        parse(text)


def test_profiles_by_the_names_that_they_have_on_another_card() -> None:
    """The project's plan names the slices of a 40 GB card; its card has 80."""
    text = BASE.replace(
        "mig_capable: true",
        'mig_capable: true, allowed_mig_profiles: ["1g.5gb", 2g.10gb, "3g.20gb", "7g.80gb"]',
    )
    fixed = fix(text, also=(profiles,))
    assert 'allowed_mig_profiles: ["1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb"]' in fixed.text
    assert [words.rpartition(": ")[2] for words in fixed.done] == ["the name of that slice on this card"] * 3


def test_one_repair_makes_the_next_one_possible() -> None:
    text = (
        BASE.replace("global:", "Global:")
        .replace("gpu_allocation:", "gpu_alocation:")
        .replace("hybrid", "Hybrid")
    )
    fixed = fix(text)
    assert fixed.text == BASE
    assert [words.partition(" ")[0] for words in fixed.done] == [
        "Global", "global.gpu_alocation", "global.gpu_allocation.strategy:",
    ]  # fmt: skip


def test_two_words_that_may_mean_one_key_are_left_to_their_writer() -> None:
    text = BASE.replace("count: 4", "cuont: 4\n      coutn: 5")
    assert fix(text).text == text


def test_an_anchor_stays_for_those_that_name_it_and_what_names_it_is_not_touched() -> None:
    text = BASE.replace("provider: local", "provider: &p Local") + "  cloud: {provider: *p}\n"
    fixed = fix(text)
    assert fixed.text == text.replace("Local", "local")
    assert parse(fixed.text).spec.clusters.cloud.provider == "local"


def test_no_yaml_is_an_error_and_nothing_else() -> None:
    with pytest.raises(SpecError, match="1 mistake"):
        fix("a: [1\n")


def test_proposals_of_rooms_above_may_meet_any_shape() -> None:
    for shape in (
        "1",
        "[]",
        "{}",
        "{devices: 3}",
        "{devices: [1, {model: 2}, {model: a100-80, allowed_mig_profiles: 7}]}",
    ):
        text = f"version: '1.0'\nglobal: {{gpu_allocation: {shape}}}\n"
        assert fix(text, also=(profiles,)).text.startswith("version")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(BASE.replace("count: 4", "cuont: 4"))
    path.chmod(0o664)
    return path


def test_the_command_repairs_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--file", str(file)]) == 3
    assert "--fix" in capsys.readouterr().err
    before = file.read_text()
    assert main(["validate", "--file", str(file), "--fix", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "-      cuont: 4      # four" in shown and "+      count: 4      # four" in shown
    assert "would be valid" in shown and file.read_text() == before
    assert main(["validate", "--file", str(file), "--fix"]) == 0
    assert "is valid" in capsys.readouterr().out
    assert file.read_text() == BASE
    assert file.stat().st_mode & 0o777 == 0o664


def test_what_cannot_be_repaired_is_told_and_the_rest_is_done(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(file.read_text().replace("cpu_cores: 8", "cpu_cores: 0"))
    assert main(["validate", "--file", str(file), "--fix"]) == 3
    captured = capsys.readouterr()
    assert "cuont is now count" in captured.out
    assert "cpu_cores" in captured.err and "1 mistake" in captured.err
    assert file.read_text() == BASE.replace("cpu_cores: 8", "cpu_cores: 0")


def test_bad_yaml_stays_byte_for_byte(file: Path) -> None:
    file.write_bytes(b"a: [1\r\n\xc3\xbc: {")
    assert main(["validate", "--file", str(file), "--fix"]) == 3
    assert file.read_bytes() == b"a: [1\r\n\xc3\xbc: {"


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--file", str(file), "--fix", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["valid"] is True and facts["repaired"] == ["clusters.hpc.compute_nodes.cuont is now count"]
    assert facts["diff"].startswith("---")


def test_json_of_a_file_that_is_not_all_right_yet(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace("cpu_cores: 8", "cpu_cores: 0"))
    assert main(["validate", "--file", str(file), "--fix", "--json"]) == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["error"] == "SpecError" and len(facts["repaired"]) == 1


def test_dry_run_alone_is_a_misunderstanding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--dry-run"]) == 2
    assert "--fix" in capsys.readouterr().err


def test_line_ends_of_another_system_stay_and_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    assert main(["validate", "--file", str(link), "--fix"]) == 0
    assert file.read_bytes() == BASE.encode().replace(b"\n", b"\r\n")
    assert link.is_symlink()


def test_a_byte_order_mark_is_no_character_of_the_file() -> None:
    assert fix("\ufeff" + BASE.replace("count: 4", "cuont: 4")).text == BASE
    assert fix("\ufeff" + BASE).text == "\ufeff" + BASE
