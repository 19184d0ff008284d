"""What the batch script does when it is told, with Slurm's commands played by small scripts."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from ai_how.jobs import render
from ai_how.jobs.aside import clear_aside
from ai_how.jobs.control import SHIPPED
from ai_how.jobs.model import JobFolder, Submission
from ai_how.run import SystemClock, wait_until
from ai_how.spec.recipe import Recipe, Runtime

#: srun notes its process id and becomes the step; scancel signals the step; scontrol notes what it was asked.
PROGRAMS = {
    "srun": 'shift; echo $$ >"$FAKES/step"; exec "$@"',
    "scancel": 'echo "$*" >>"$FAKES/scancel"; kill -USR1 "$(cat "$FAKES/step")"',
    "scontrol": 'echo "$*" >>"$FAKES/scontrol"; exit "${REFUSE:-0}"',
}
LISTENS = """
    import time
    from ai_how_job import notice
    {before}
    notice.listen()
    while not notice.given():
        time.sleep(0.01)
    notice.leave()
"""


@dataclass
class Batch:
    """A batch script under way."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    key: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def folder(self) -> JobFolder:
        return JobFolder(self.root / f"x-{self.key}")

    def start(self, script: str, kind: str = "evaluate") -> subprocess.Popen[str]:
        folder = self.folder
        folder.scripts.mkdir(parents=True)
        (folder.scripts / "ai_how_job").symlink_to(SHIPPED / "ai_how_job")
        (folder.scripts / "script.py").write_text(textwrap.dedent(script))
        recipe = Recipe.model_validate(
            {
                "version": "1.0",
                "kind": kind,
                "name": "x",
                "prepare" if kind == "finetune" else "script": "script.py",
                "environment": Runtime(path="/"),
            }
        )
        submission = Submission(recipe, folder, Path("x"), sys.executable, "", "", {})
        folder.batch.write_text(render.batch_script(submission))
        fakes = self.root / "fakes"
        fakes.mkdir()
        for name, text in PROGRAMS.items():
            (fakes / name).write_text(f"#!/bin/sh\n{text}\n")
            (fakes / name).chmod(0o755)
        env = {
            **os.environ,
            "PATH": f"{fakes}:{os.environ['PATH']}",
            "FAKES": str(self.root),
            "SLURM_JOB_ID": "7",
        }
        return subprocess.Popen(
            ["bash", folder.batch],
            cwd=folder.scripts,
            env={**env, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def asked(self, program: str) -> list[str]:
        file = self.root / program
        return file.read_text().splitlines() if file.exists() else []

    def appears(self, path: str) -> None:
        wait_until((self.root / path).exists, what=path, timeout=60, clock=SystemClock(), longest=0.02)


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setattr(render, "REPEAT", 0.2)
    return Batch(tmp_path)


def test_a_job_that_was_told_saves_leaves_and_is_requeued(batch: Batch) -> None:
    process = batch.start(LISTENS.format(before=""))
    batch.appears("step")
    process.send_signal(signal.SIGUSR1)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert batch.asked("scontrol") == ["requeue 7"]
    assert (batch.folder.path / "job_id").read_text() == "7\n"


def test_a_notice_is_repeated_until_the_script_listens(batch: Batch) -> None:
    slow = "import os\n    while not os.path.exists(os.environ['FAKES'] + '/enough'): time.sleep(0.01)"
    process = batch.start(LISTENS.format(before=slow))
    batch.appears("step")
    process.send_signal(signal.SIGUSR1)
    wait_until(
        lambda: len(batch.asked("scancel")) >= 3,
        what="notices",
        timeout=60,
        clock=SystemClock(),
        longest=0.02,
    )
    assert process.poll() is None
    (batch.root / "enough").touch()
    assert process.wait(timeout=60) == 0
    assert batch.asked("scontrol") == ["requeue 7"]


def test_a_notice_before_there_is_a_step_is_kept_for_it(batch: Batch) -> None:
    prepare = """
        import os, pathlib, time
        fakes = pathlib.Path(os.environ["FAKES"])
        (fakes / "preparing").touch()
        while not (fakes / "told").exists():
            time.sleep(0.01)
    """
    process = batch.start(prepare, kind="finetune")
    finetune = textwrap.dedent(LISTENS.format(before=""))
    package = batch.folder.scripts / "ai_how_job"
    package.unlink()
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "notice.py").symlink_to(SHIPPED / "ai_how_job" / "notice.py")
    (package / "finetune.py").write_text(finetune)
    batch.appears("preparing")
    process.send_signal(signal.SIGUSR1)
    (batch.root / "told").touch()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert batch.asked("scontrol") == ["requeue 7"]


def test_a_script_that_does_not_know_the_notice_goes_on(batch: Batch) -> None:
    script = """
        import os, time
        while not os.path.exists(os.environ["FAKES"] + "/scancel"):
            time.sleep(0.01)
        time.sleep(0.1)
        raise SystemExit(3)
    """
    process = batch.start(script)
    batch.appears("step")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 3
    assert batch.asked("scontrol") == []


def test_a_requeue_that_slurm_refuses_fails_the_job(batch: Batch) -> None:
    batch.env["REFUSE"] = "1"
    process = batch.start(LISTENS.format(before=""))
    batch.appears("step")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 1


@pytest.mark.parametrize("code", [0, 1, 85])
def test_the_script_s_own_exit_code_is_the_job_s(batch: Batch, code: int) -> None:
    process = batch.start(f"raise SystemExit({code})\n")
    assert process.wait(timeout=60) == code
    assert batch.asked("scontrol") == []


def test_a_preparation_that_fails_fails_the_job(batch: Batch) -> None:
    process = batch.start("raise SystemExit(5)\n", kind="finetune")
    assert process.wait(timeout=60) == 5


@pytest.mark.parametrize("signum", [None, signal.SIGTERM, signal.SIGKILL])
def test_what_the_job_s_programs_put_aside_goes_with_it(batch: Batch, signum: signal.Signals | None) -> None:
    script = """
        import os, pathlib, tempfile, time
        fakes = pathlib.Path(os.environ["FAKES"])
        folder = tempfile.mkdtemp(prefix="torchelastic_")
        (fakes / "part").write_text(folder)
        (fakes / "part").rename(fakes / "aside")
        while not (fakes / "enough").exists():
            time.sleep(0.01)
    """
    process = batch.start(script)
    batch.appears("aside")
    aside = Path((batch.root / "aside").read_text())
    assert aside.is_dir() and aside.parent == batch.folder.aside
    if signum:
        os.killpg(process.pid, signum)
    (batch.root / "enough").touch()
    process.wait(timeout=60)
    # Killed outright it cannot clear up: `down` does.
    assert aside.parent.exists() is (signum is signal.SIGKILL)
    clear_aside(SimpleNamespace(jobs=batch.root))  # type: ignore[arg-type]
    assert not aside.parent.exists()
