"""When a record is given up: its submitter died before sbatch, or slurmctld forgot its job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ai_how.jobs.control import is_lost
from ai_how.jobs.model import LOST, JobFolder, JobRecord
from ai_how.jobs.tracker import ABANDONED_SECONDS, abandoned, lost
from ai_how.slurm.model import Job

RECORD = JobRecord(name="digits", kind="train", run_id="r", submitted=1000.0)
LATER = 1000.0 + ABANDONED_SECONDS + 1


@pytest.mark.parametrize(
    ("record", "jobs", "now", "expected"),
    [
        pytest.param(RECORD, [], LATER, True, id="nobody knows of it"),
        pytest.param(RECORD, [], 1010.0, False, id="it may be under way"),
        pytest.param(RECORD.with_job(7), [], LATER, False, id="it was submitted"),
        pytest.param(RECORD, [Job(7, "digits", "PENDING")], LATER, False, id="one that waits may be it"),
        pytest.param(RECORD, [Job(7, "digits", "COMPLETED")], LATER, True, id="one that ended noted its id"),
        pytest.param(RECORD, [Job(7, "mnist", "PENDING")], LATER, True, id="another one waits"),
    ],
)
def test_a_record_without_a_job(record: JobRecord, jobs: list[Job], now: float, expected: bool) -> None:
    assert abandoned(record, jobs, now) is expected


FOLDER = JobFolder(Path("/srv/site/share/jobs/digits-abababab"))
OURS = Job(7, "digits", "RUNNING", work_dir=str(FOLDER.scripts))
REMEMBERED = Job(7, "digits", "RUNNING")


@pytest.mark.parametrize(
    ("held", "known", "expected"),
    [
        pytest.param(OURS, OURS, False, id="slurmctld holds it"),
        pytest.param(replace(OURS, work_dir=""), None, False, id="slurmctld does not say where it runs"),
        pytest.param(None, None, True, id="nobody has heard of it"),
        pytest.param(None, REMEMBERED, True, id="accounting waits for its end in vain"),
        pytest.param(None, replace(REMEMBERED, state="COMPLETED"), False, id="it ended long ago"),
        pytest.param(replace(OURS, work_dir="/home/ada"), None, True, id="another job was given its id"),
    ],
)
def test_a_job_that_slurmctld_forgot(held: Job | None, known: Job | None, expected: bool) -> None:
    assert lost(FOLDER, held, known) is expected


@pytest.mark.parametrize(
    ("state", "job", "expected"),
    [
        pytest.param("", None, True, id="not closed yet"),
        pytest.param(LOST, None, True, id="closed"),
        pytest.param(LOST, replace(REMEMBERED, state="PENDING"), True, id="a trace in accounting"),
        pytest.param(LOST, OURS, False, id="another job has its id"),
        pytest.param(LOST, replace(REMEMBERED, state="COMPLETED"), False, id="another job had its id"),
        pytest.param("COMPLETED", None, False, id="it ended, and was forgotten since"),
        pytest.param("", REMEMBERED, False, id="it runs"),
    ],
)
def test_which_job_is_shown_as_lost(state: str, job: Job | None, expected: bool) -> None:
    assert is_lost(replace(RECORD, job_id=7, state=state), job) is expected
