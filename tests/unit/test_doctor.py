"""What the doctor shows, and what `ai-how test` says was not run."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from ai_how.cli import main
from ai_how.cli import test as test_command
from ai_how.cli.doctor import show, show_checks, show_heading
from ai_how.cli.test import names_a_path, skipped
from ai_how.host.checks import Needs
from ai_how.host.doctor import Diagnosis, examine
from ai_how.host.environments import Environment
from ai_how.host.inventory import Inventory
from ai_how.host.model import Distribution, Found
from ai_how.host.programs import CATALOGUE
from ai_how.host.recorded import read_inventory
from ai_how.spec.template import laptop

INVENTORIES = Path(__file__).parents[2] / "examples/inventories"


def diagnosis(family: str = "debian", *, root: bool = False) -> Diagnosis:
    """A machine that has munged and lacks slurmctld."""
    machine = Inventory("box", "ann", root, 8, 16 * 2**30, 100 * 2**30, (Path("/dev/tty1"),))
    munged = Found("munged", Path("/usr/sbin/munged"), "0.5.15", "path")
    return Diagnosis(
        distribution=Distribution(family, "12", "Some Linux 12"),
        inventory=machine,
        home=Path("/home/ann/.local/share/ai-how"),
        programs=((CATALOGUE["munged"], munged), (CATALOGUE["slurmctld"], None)),
        environments=(Environment("torch", Path("/home/ann/.local/share/ai-how/envs/torch-0"), False),),
        command="sudo apt-get install --no-install-recommends slurmctld",
    )


def shown(what: Diagnosis, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(what, console)
    return lines_of(console)


def lines_of(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 160])
def test_every_program_is_shown_with_version_and_origin(width: int) -> None:
    lines = shown(diagnosis(), width)
    assert all(len(line) <= width for line in lines)
    munged = next(line for line in lines if line.startswith("munged"))
    assert munged.split()[:3] == ["munged", "0.5.15", "path"]
    assert munged.endswith("/usr/sbin/munged") == (width == 160)
    assert any(line.split()[:3] == ["slurmctld", "missing", "-"] for line in lines)
    assert lines[-1] == "  sudo apt-get install --no-install-recommends slurmctld"


@pytest.mark.parametrize("width", [80, 160])
def test_the_checks_come_with_their_reasons_and_what_to_type(width: int) -> None:
    found = examine(read_inventory(INVENTORIES / "dgx-h100.yaml"), Needs(frozenset({"libvirt"})))
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_heading(found, None, console)
    show_checks(found, console)
    lines = lines_of(console)
    assert lines[0] == "dgx  Ubuntu 22.04 LTS  (simulated)" and "8 x NVIDIA H100 80GB HBM3" in lines
    table = lines[lines.index("") + 1 :]
    assert all(len(line) <= width for line in table[: table.index("")])
    assert [line.split()[1] for line in table if line.startswith(("host-name", "libvirt", "iommu "))] == [
        "warning", "failure", "ok",
    ]  # fmt: skip
    assert "  sudo sed -i '1i 127.0.0.1 dgx' /etc/hosts" in lines
    assert "For the provider libvirt: 1 failure, 1 warning." in lines


def test_the_heading_of_this_machine_says_who_asks() -> None:
    found = examine(read_inventory(INVENTORIES / "laptop.yaml"), Needs(), here=diagnosis())
    console = Console(file=io.StringIO(), width=160, highlight=False)
    show_heading(found, diagnosis(), console)
    assert lines_of(console)[:3] == [
        "laptop  Debian GNU/Linux 12 (bookworm)  (ann, not root)",
        "AMD EPYC, 2 threads, 24 GiB of memory, 70 GiB free",
        "1 character device that can stand in for GPUs; data in /home/ann/.local/share/ai-how",
    ]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a file, and a data folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_HOW_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("AI_HOW_FILE", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["laptop.yaml"], 0),
        (["workstation.yaml", "--provider", "libvirt", "--provider", "existing"], 0),
        (["dgx-h100.yaml"], 1),
        (["dgx-h100.yaml", "--provider", "libvirt"], 2),
    ],
)
def test_another_machine_is_rehearsed(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    assert main(["doctor", "--json", "--inventory", str(INVENTORIES / words[0]), *words[1:]]) == code
    facts = json.loads(capsys.readouterr().out)
    results = {check["result"] for check in facts["checks"]}
    assert ("failure" in results, "warning" in results) == (code == 2, code > 0)
    assert facts["inventory"]["hostname"] == words[0].partition(".")[0].partition("-")[0]
    assert "programs" not in facts


def test_a_machine_of_which_little_is_known(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "little.yaml").write_text('inventory: "1.0"\nmemory_gb: 64\n')
    assert main(["doctor", "--inventory", "little.yaml"]) == 9
    assert "that nobody could tell" in capsys.readouterr().out


def test_a_wrong_inventory_is_answered_with_its_place(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "wrong.yaml").write_text('inventory: "1.0"\ngpus: [{model: A1000}]\n')
    assert main(["doctor", "--inventory", "wrong.yaml"]) == 3
    told = capsys.readouterr().err
    assert "wrong.yaml:2:16: the catalogue does not know the GPU 'A1000'" in told


def test_the_providers_of_the_file_are_checked(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = laptop().replace("provider: local", "provider: libvirt", 1)
    (elsewhere / "cluster.yaml").write_text(text)
    main(["doctor", "--json", "--inventory", str(INVENTORIES / "laptop.yaml")])
    facts = json.loads(capsys.readouterr().out)
    assert facts["providers"] == ["libvirt", "local"]
    assert "libvirt" in [check["id"] for check in facts["checks"]]


def test_a_file_with_mistakes_is_a_finding_unless_it_was_named(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "cluster.yaml").write_text("version: 1\n")
    inventory = ["--inventory", str(INVENTORIES / "laptop.yaml")]
    assert main(["doctor", "--json", *inventory]) == 2
    first = json.loads(capsys.readouterr().out)["checks"][0]
    assert (first["id"], first["result"], first["command"]) == ("file", "failure", "ai-how validate")
    assert main(["doctor", "--file", "cluster.yaml", *inventory]) == 3


def test_this_machine_can_be_saved_and_rehearsed(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_how.host.doctor.diagnose", lambda gate, folders: diagnosis())
    code = main(["doctor", "--json", "--save-inventory", "mine.yaml"])
    here = json.loads(capsys.readouterr().out)
    assert code in (0, 1, 2, 9) and here["missing"] == ["slurmctld"] and here["checks"]
    main(["doctor", "--json", "--inventory", "mine.yaml"])
    again = json.loads(capsys.readouterr().out)
    assert again["inventory"] == here["inventory"] | {"origin": "recorded"}


@pytest.mark.parametrize(
    ("family", "root", "line"),
    [
        ("debian", True, "One program is not here yet: ai-how up gets what is missing with apt."),
        (
            "debian",
            False,
            "One program is not here yet: ai-how up gets what is missing into your data folder.",
        ),
        ("fedora", True, "One program is missing."),
    ],
)
def test_what_to_do_next_depends_on_the_machine(family: str, root: bool, line: str) -> None:
    assert line in shown(diagnosis(family, root=root), 120)


def test_the_same_facts_as_json() -> None:
    facts = diagnosis().as_json()
    assert facts["missing"] == ["slurmctld"]
    assert facts["programs"] == [
        {
            "name": "munged",
            "purpose": CATALOGUE["munged"].purpose,
            "version": "0.5.15",
            "origin": "path",
            "path": "/usr/sbin/munged",
        },
        {
            "name": "slurmctld",
            "purpose": "Slurm's controller",
            "version": None,
            "origin": None,
            "path": None,
        },
    ]


def test_the_reasons_of_skipped_tests_are_read_from_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert list(skipped(report)) == []
    report.write_text(
        '<testsuites><testsuite><testcase name="a"><skipped message="no GPU"/></testcase>'
        '<testcase name="b"/><testcase name="c"><skipped/></testcase></testsuite></testsuites>'
    )
    assert list(skipped(report)) == ["no GPU", "no reason given"]


def test_a_path_among_pytests_words_is_known(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    assert names_a_path(["-x", "tests::test_one"], tmp_path)
    assert not names_a_path(["-k", "slurm", ""], tmp_path)


@pytest.mark.parametrize(
    ("words", "expression", "pytest_words"),
    [
        (["-k", "slurm"], "slurm", []),
        (["-k", "slurm", "tests/unit", "-x"], "slurm", ["tests/unit", "-x"]),
        (["--fast", "--", "-k", "slurm"], None, ["--", "-k", "slurm"]),
    ],
)
def test_tests_can_be_chosen_without_a_double_dash(
    words: list[str], expression: str | None, pytest_words: list[str]
) -> None:
    parser = argparse.ArgumentParser(prog="ai-how test")
    test_command.arguments(parser)
    args = parser.parse_args(words)
    assert (args.k, [word for word in args.pytest if word != "--"]) == (
        expression,
        [word for word in pytest_words if word != "--"],
    )


def test_other_options_of_pytest_are_refused_with_the_way_to_give_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = argparse.ArgumentParser(prog="ai-how test")
    test_command.arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["-x"])
    assert "[-- OPTIONS OF PYTEST]" in capsys.readouterr().err
