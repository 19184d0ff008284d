"""When a record whose submitter died before sbatch is given up."""

from __future__ import annotations

import pytest

from ai_how.jobs.model import JobRecord
from ai_how.jobs.tracker import ABANDONED_SECONDS, abandoned
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
