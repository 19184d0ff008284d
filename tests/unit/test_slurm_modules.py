"""How a batch script finds environment modules and Apptainer, run by bash against stand-ins."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ai_how.slurm.images import finding_apptainer
from ai_how.slurm.modules import loading

#: A module system of one command: it knows `good`, and is as careless of unset variables as real ones.
SYSTEM = """
umask 022
PATH=/usr/bin:/bin
module() { : "$NOBODY_SET_THIS"; if [ "$2" = good ]; then export LOADED=$2; else echo "no $2" >&2; false; fi; }
"""


def run(*lines: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The lines by a bash that has no profile but what ``env`` names."""
    # Whatever this machine has: only the variables tell here.
    script = "\n".join(lines).replace("/etc/profile /usr/share/{lmod/lmod,modules,Modules}", "")
    return subprocess.run(
        ["bash", "-c", script], env={"PATH": os.environ["PATH"], **(env or {})},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "bash").write_text(SYSTEM)
    return tmp_path


def test_no_modules_ask_for_nothing() -> None:
    assert list(loading(())) == []


@pytest.mark.parametrize("variable", ["MODULESHOME", "LMOD_PKG"])
def test_what_came_along_tells_where_it_is_told(home: Path, variable: str) -> None:
    mine = home / "mine"
    env = {variable: str(home), "PATH": f"{mine}:{os.environ['PATH']}"}
    done = run(*loading(["good"]), "set -eu", 'echo "$LOADED ${PATH%%:*}"', env=env)
    assert (done.returncode, done.stdout.split()) == (0, ["good", str(mine)]), done.stderr


def test_a_function_that_came_along_is_taken() -> None:
    env = {"BASH_FUNC_module%%": "() { echo asked $2; }", "MODULESHOME": "/nowhere"}
    done = run(*loading(["a b"]), env=env)
    assert (done.returncode, done.stdout) == (0, "asked a b\n"), done.stderr


def test_without_a_module_system_the_job_ends_and_says_so() -> None:
    done = run(*loading(["cuda/12.4", "it's $HOME"]), "echo went on")
    assert done.returncode == 1 and done.stdout == ""
    assert f"no module system is found on {os.uname().nodename}" in done.stderr
    assert (
        "cuda/12.4 'it'\"'\"'s $HOME'" in done.stderr and "install environment-modules or lmod" in done.stderr
    )


def test_a_module_that_is_not_there_ends_the_job(home: Path) -> None:
    done = run(*loading(["good", "bad"]), "echo went on", env={"MODULESHOME": str(home)})
    assert done.returncode == 1 and done.stdout == ""
    assert "no bad" in done.stderr and "the module bad is not loaded on" in done.stderr


@pytest.mark.parametrize("name", ["apptainer", "singularity"])
def test_either_program_runs_images(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    (tmp_path / name).chmod(0o755)
    env = {"PATH": str(tmp_path)}
    bash = ["/bin/bash", "-c", "\n".join([*finding_apptainer(), 'echo "$AI_HOW_APPTAINER"'])]
    assert subprocess.run(bash, env=env, capture_output=True, text=True, check=True).stdout.strip() == str(
        tmp_path / name
    )


def test_without_either_the_job_ends_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "uname").symlink_to("/usr/bin/uname")
    bash = ["/bin/bash", "-c", "\n".join([*finding_apptainer(), "echo went on"])]
    done = subprocess.run(bash, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == "" and "neither apptainer nor singularity" in done.stderr
