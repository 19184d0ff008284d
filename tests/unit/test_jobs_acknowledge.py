"""When a submitter may rely on a job: slurmctld, whose file is a real one here, has written it down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.errors import CouldNotTell, NotFound
from ai_how.jobs.control import ACKNOWLEDGED_WITHIN, WRITTEN_WITHIN, Jobs
from ai_how.jobs.model import JobFolder, JobRecord
from ai_how.services import Layout
from ai_how.services.slurm import state_folder
from ai_how.slurm.model import Job

RECORD = JobRecord(name="digits", kind="train", run_id="r", submitted=0.0, job_id=7)


class Daemon:
    """Time that passes only in sleep; and slurmctld, which writes its file at one moment and may know no job."""

    def __init__(
        self, kept: Path, text: bytes, writes_at: float | None, known: Job | None | Exception
    ) -> None:
        self.time, self.asked = 0.0, 0
        self._kept, self._text, self._writes_at, self._known = kept, text, writes_at, known

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if self._writes_at is not None and self.time >= self._writes_at:
            self._kept.write_bytes(self._text)

    def job(self, job_id: int) -> Job | None:
        self.asked += 1
        if isinstance(self._known, Exception):
            raise self._known
        return self._known


def acknowledged(root: Path, writes_at: float | None, known: Job | None | Exception) -> Daemon:
    layout = Layout(root)
    folder = JobFolder(layout.jobs / "digits-abababab")
    kept = state_folder(layout) / "job_state"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"\0other jobs\0")
    folder.path.mkdir(parents=True)
    folder.record.write_text(RECORD.to_text())
    daemon = Daemon(kept, b"\0" + str(folder.scripts).encode() + b"\0", writes_at, known)
    slurm: Any = daemon
    Jobs(slurm, layout, slurm, daemon).acknowledge(folder, RECORD)
    return daemon


def test_nobody_is_asked_while_slurmctld_may_still_write(tmp_path: Path) -> None:
    daemon = acknowledged(tmp_path, 4.0, None)
    assert 4.0 <= daemon.time < WRITTEN_WITHIN and daemon.asked == 0


def test_one_that_was_killed_before_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="job 7 .* is lost"):
        acknowledged(tmp_path, None, None)


def test_one_that_is_being_started_again_is_waited_for(tmp_path: Path) -> None:
    daemon = acknowledged(tmp_path, 20.0, CouldNotTell("slurmctld does not answer"))
    assert daemon.time >= 20.0 and daemon.asked > 0


def test_one_that_lives_and_cannot_write_does_not_hold_the_submitter(tmp_path: Path) -> None:
    daemon = acknowledged(tmp_path, None, Job(7, "digits", "RUNNING"))
    assert daemon.time >= ACKNOWLEDGED_WITHIN


def test_somebody_elses_controller_is_not_waited_for(tmp_path: Path) -> None:
    slurm: Any = None
    Jobs(slurm, Layout(tmp_path), slurm, slurm).acknowledge(JobFolder(tmp_path / "x-1"), RECORD)
    assert not state_folder(Layout(tmp_path)).exists()
