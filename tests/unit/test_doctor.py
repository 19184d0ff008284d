"""What the doctor shows, and what `ai-how test` says was not run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ai_how.cli.doctor import show
from ai_how.cli.test import names_a_path, skipped
from ai_how.host.doctor import Diagnosis
from ai_how.host.environments import Environment
from ai_how.host.inventory import Inventory
from ai_how.host.model import Distribution, Found
from ai_how.host.programs import CATALOGUE


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
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 160])
def test_every_program_is_shown_with_version_and_origin(width: int) -> None:
    lines = shown(diagnosis(), width)
    assert all(len(line) <= width for line in lines)
    assert lines[0] == "box  Some Linux 12  (ann, not root)"
    munged = next(line for line in lines if line.startswith("munged"))
    assert munged.split()[:3] == ["munged", "0.5.15", "path"]
    assert munged.endswith("/usr/sbin/munged") == (width == 160)
    assert any(line.split()[:3] == ["slurmctld", "missing", "-"] for line in lines)
    assert lines[-1] == "  sudo apt-get install --no-install-recommends slurmctld"


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
