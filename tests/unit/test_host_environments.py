"""Runtime environments: what makes one, and what never counts as one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ai_how.errors import AiHowError, NotFound
from ai_how.host import Environments, Folders
from ai_how.host.environments import REQUIREMENTS, without_torch
from ai_how.run import Command
from ai_how.run.fake import Answer, ScriptedGate


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "small.txt").write_text("six==1.17.0 --hash=sha256:0\n")
    (folder / "core.txt").write_text("")
    return folder


def venv(command: Command) -> Answer:
    python = Path(command.argv[-1]) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    return (0, "", "")


def good() -> ScriptedGate:
    return ScriptedGate([(("uv", "venv"), venv), (("uv", "pip"), (0, "", ""))])


def environments(gate: ScriptedGate, home: Path, lists: Path) -> Environments:
    return Environments(gate, Folders(home), requirements=lists, python=Path("/usr/bin/python3.11"))


def test_one_is_built_once(tmp_path: Path, lists: Path) -> None:
    gate = good()
    kept = environments(gate, tmp_path / "home", lists)
    assert kept.find("small") is None
    folder = kept.ensure("small")
    assert folder.parent == tmp_path / "home/envs" and folder.name.startswith("small-")
    assert kept.find("small") == folder
    before = len(gate.commands)
    assert kept.ensure("small") == folder and len(gate.commands) == before
    assert "--require-hashes" in gate.commands[-1].argv and "--compile-bytecode" in gate.commands[-1].argv


def test_one_without_its_stamp_is_made_anew(tmp_path: Path, lists: Path) -> None:
    kept = environments(good(), tmp_path / "home", lists)
    half = kept.folder("small")
    (half / "bin").mkdir(parents=True)
    (half / "leftover").touch()
    assert kept.find("small") is None
    assert kept.ensure("small") == half and not (half / "leftover").exists()


def test_a_failure_leaves_nothing_and_says_what_uv_said(tmp_path: Path, lists: Path) -> None:
    gate = ScriptedGate([(("uv", "venv"), venv), (("uv", "pip"), (2, "", "hash mismatch for six"))])
    kept = environments(gate, tmp_path / "home", lists)
    with pytest.raises(AiHowError, match="the small environment could not be built") as caught:
        kept.ensure("small")
    assert caught.value.detail == "hash mismatch for six"
    assert not kept.folder("small").exists()


def test_another_list_is_another_environment(tmp_path: Path, lists: Path) -> None:
    kept = environments(good(), tmp_path / "home", lists)
    old = kept.ensure("small")
    (lists / "small.txt").write_text("six==1.16.0 --hash=sha256:1\n")
    new = kept.ensure("small")
    assert new != old and old.is_dir()


def test_an_unknown_one_is_said_to_be_unknown(tmp_path: Path, lists: Path) -> None:
    with pytest.raises(NotFound, match="'big'") as caught:
        environments(good(), tmp_path, lists).ensure("big")
    assert caught.value.todo == "There are: small."


def test_pytorch_comes_in_the_build_that_can_be_had(
    tmp_path: Path, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lists / "net.txt").write_text(
        "six==1.17.0 \\\n    --hash=sha256:0\ntorch==2.13.0+cpu \\\n    --hash=sha256:1\n"
    )
    (lists / "cuda.txt").write_text("torch==2.13.0 \\\n    --hash=sha256:2\n")
    monkeypatch.setattr("ai_how.host.environments.has_nvidia", lambda: False)
    monkeypatch.setattr("ai_how.host.environments._HASHED_PYTHON", sys.version_info[:2])
    gate = good()
    environments(gate, tmp_path / "cpu", lists).ensure("net")
    assert gate.commands[-1].argv[-1] == str(lists / "net.txt")

    monkeypatch.setattr("ai_how.host.environments._HASHED_PYTHON", (2, 7))
    gate = good()
    environments(gate, tmp_path / "other", lists).ensure("net")
    assert gate.commands[-1].argv[-1] == "torch==2.13.0+cpu"
    assert Path(gate.commands[-2].argv[-1]).read_text() == "six==1.17.0 \\\n    --hash=sha256:0\n"

    def without_cpu_build(command: Command) -> Answer:
        return (1, "", "no such version") if "--dry-run" in command.argv else (0, "", "")

    gate = ScriptedGate([(("uv", "venv"), venv), (("uv", "pip"), without_cpu_build)])
    environments(gate, tmp_path / "cuda", lists).ensure("net")
    chosen = Path(gate.commands[-1].argv[-1]).read_text()
    assert chosen == "six==1.17.0 \\\n    --hash=sha256:0\ntorch==2.13.0 \\\n    --hash=sha256:2\n"


def test_the_lists_of_the_project_are_pinned_hashed_and_name_no_address() -> None:
    for file in sorted(REQUIREMENTS.glob("*.txt")):
        text = file.read_text()
        assert "://" not in text and "index" not in text.replace("importlib", ""), file.name
        lines = [line for line in text.splitlines() if line[:1].isalpha()]
        assert lines and all("==" in line and line.endswith("\\") for line in lines), file.name
        assert text.count("--hash=sha256:") >= len(lines), file.name


def test_mlflow_and_its_client_have_one_version() -> None:
    def version(name: str, package: str) -> str:
        lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
        return next(line.split("==")[1] for line in lines if line.startswith(f"{package}=="))

    assert version("core", "mlflow-skinny") == version("mlflow", "mlflow")


def test_leaving_pytorch_out_keeps_the_rest() -> None:
    text = (
        "a==1 \\\n    --hash=sha256:0\ntorch==2+cpu \\\n    --hash=sha256:1\nz==1 \\\n    --hash=sha256:2\n"
    )
    assert without_torch(text) == "a==1 \\\n    --hash=sha256:0\nz==1 \\\n    --hash=sha256:2\n"
