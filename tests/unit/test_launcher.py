"""The launcher's first part: what it costs and what it lets through when the environment is current."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from ai_how.run import Command, Completed, LocalGate

ROOT = Path(__file__).parents[2]
LISTS = "src/ai_how/host/requirements"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone with the launcher and its lists, and an environment whose Python is a script that shows its words."""
    root = tmp_path / "a clone"
    (root / LISTS).mkdir(parents=True)
    for name in ("bootstrap.txt", "core.txt"):
        (root / LISTS / name).write_text("")
    (root / "pyproject.toml").write_text("")
    shutil.copy2(ROOT / "ai-how", root / "ai-how")
    python = root / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$0|$*|${PYTHONPATH-unset}|$PWD"\n')
    python.chmod(0o755)
    lists = [f"{root}/{LISTS}/bootstrap.txt", f"{root}/{LISTS}/core.txt", f"{root}/pyproject.toml"]
    sums = " ".join(f"4294967295:0:{file}" for file in lists)
    (root / ".venv/.ai-how").write_text(f"1 {root}/.venv {sums}\n\n")
    return root


def launch(program: Path, *words: str, cwd: Path, **env: str) -> Completed:
    cleared = {"AI_HOW_ENV": "", "PYTHONPATH": "/somewhere", **env}
    return LocalGate().run(Command((str(program), *words), env=cleared, cwd=cwd, timeout=60.0), check=False)


def test_it_hands_over_every_word_and_stays_where_it_is(tree: Path, tmp_path: Path) -> None:
    done = launch(tree / "ai-how", "up", "--file", "my file.yaml", "", cwd=tmp_path)
    assert done.stdout == f"{tree}/.venv/bin/python|-I -m ai_how up --file my file.yaml |unset|{tmp_path}\n"
    assert done.stderr == ""


def test_it_finds_its_root_through_links(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "first").symlink_to("../second")
    (tmp_path / "second").symlink_to(tree / "ai-how")
    assert launch(tmp_path / "bin" / "first", cwd=tmp_path).stdout.startswith(f"{tree}/.venv/bin/python|")


def test_another_environment_can_be_named(tree: Path, tmp_path: Path) -> None:
    shutil.move(tree / ".venv", tmp_path / "env")
    stamp = tmp_path / "env" / ".ai-how"
    stamp.write_text(stamp.read_text().replace(f"1 {tree}/.venv", f"1 {tmp_path}/env"))
    done = launch(tree / "ai-how", cwd=tmp_path, AI_HOW_ENV="env")
    assert done.stdout.startswith(f"{tmp_path}/env/bin/python|")


def test_libraries_of_an_unpacked_python_are_found(tree: Path) -> None:
    stamp = tree / ".venv/.ai-how"
    stamp.write_text(stamp.read_text().removesuffix("\n") + "/unpacked/lib\n")
    (tree / ".venv/bin/python").write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH"\n')
    assert launch(tree / "ai-how", cwd=tree, LD_LIBRARY_PATH="/mine").stdout == "/unpacked/lib:/mine\n"


def worked(program: Path, *words: str, cwd: Path) -> float:
    """Seconds of processor time that one launch takes: what it costs whoever else has the cores meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = launch(program, *words, cwd=cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_it_costs_a_few_milliseconds(tree: Path) -> None:
    """The best of nine launches, with the time to start two shells in it."""
    assert min(worked(tree / "ai-how", cwd=tree) for _ in range(9)) < 0.05


def test_help_is_instant() -> None:
    """``--help`` imports nothing heavy: at most 150 ms, the best of five."""
    if not (ROOT / ".venv/.ai-how").is_file():
        pytest.skip("the launcher's own environment is not .venv here (AI_HOW_ENV is set)")
    assert min(worked(ROOT / "ai-how", "--help", cwd=ROOT) for _ in range(5)) <= 0.15
