"""What a benchmark starts under Slurm goes when it goes: the job, and the folder with the program's environment."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, cast

import pytest

from ai_how.bench.targets.job import SlurmGate
from ai_how.errors import CommandFailed
from ai_how.run import Command
from ai_how.slurm.control import Slurm
from ai_how.spec.recipe import Resources


class Pressed:
    """A Slurm during whose ``when`` somebody presses Ctrl-C, and once more while the job is cancelled."""

    def __init__(self, when: str) -> None:
        self._when = when
        self.cancelled: list[int] = []

    def submit(self, script: str, name: str, folder: Path) -> int:
        assert (folder / "env").exists()
        self._press("submit")
        return 7

    def job(self, job_id: int) -> Any:
        self._press("job")
        raise CommandFailed("scontrol ended")

    def cancel(self, job_id: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        self.cancelled.append(job_id)

    def _press(self, when: str) -> None:
        if when == self._when:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("when", ["submit", "job"])
def test_ctrl_c_at_any_instant_cancels_the_job_and_leaves_nothing(when: str, tmp_path: Path) -> None:
    slurm = Pressed(when)
    gate = SlurmGate(cast(Slurm, slurm), tmp_path, Resources(), "bench-x")
    with pytest.raises(KeyboardInterrupt):
        gate.run(Command(("true",), env={"SECRET": "x"}))
    assert slurm.cancelled == [7] and not list(tmp_path.iterdir())
