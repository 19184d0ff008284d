"""What is done for the steps of a plan, and before the daemons stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from test_gateway_app import FixedClock

from ai_how.run import SystemClock
from ai_how.site.apply import Actions
from ai_how.site.model import Silent
from ai_how.slurm.model import Job


class OneNode:
    """A Slurm with room for one job: the next one begins as soon as one was put back."""

    def __init__(self, *names: str) -> None:
        self.queue = [Job(number, name, "PENDING") for number, name in enumerate(names, 1)]
        self.put_back: list[int] = []
        self._begin()

    def _begin(self) -> None:
        free = (at for at, job in enumerate(self.queue) if job.id not in self.put_back)
        if (at := next(free, None)) is not None:
            self.queue[at] = replace(self.queue[at], state="RUNNING")

    def alive(self) -> bool:
        return True

    def jobs(self) -> list[Job]:
        return self.queue

    def requeue(self, job_id: int) -> bool:
        self.put_back.append(job_id)
        self.queue = [replace(job, state="PENDING") if job.id == job_id else job for job in self.queue]
        self._begin()
        return True


def test_jobs_that_begin_while_others_are_put_back_are_put_back_too() -> None:
    slurm = OneNode("first", "second", "third")
    Actions(cast(Any, None), (), cast(Any, slurm), Silent(), SystemClock()).park_jobs()
    assert slurm.put_back == [1, 2, 3]
    assert {job.state for job in slurm.jobs()} == {"PENDING"}


class Stuck(OneNode):
    """A Slurm with a node that is gone: its job does not end."""

    def requeue(self, job_id: int) -> bool:
        return True


def test_a_job_that_does_not_end_keeps_no_site_up() -> None:
    told: list[str] = []
    reporter = Silent()
    reporter.note = told.append  # type: ignore[method-assign]
    Actions(cast(Any, None), (), cast(Any, Stuck("first")), reporter, cast(Any, FixedClock())).park_jobs()
    assert told[-1].endswith("they are ended with the site")
