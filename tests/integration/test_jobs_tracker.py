"""The tracker closes the run of every job that ended, whatever happened to it, to MLflow or to who submitted."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_site import LiveSite, until

from ai_how.client.tracking import Tracking

SECONDS = 1


@contextmanager
def deaf(site: LiveSite) -> Iterator[int]:
    """A tracker that neither sees nor does anything; its process id."""
    pid = site.daemons()["tracker"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            assert site.daemons()["tracker"] != pid


@pytest.fixture
def tracking(site: LiveSite) -> Tracking:
    return Tracking(f"http://127.0.0.1:{site.ports['mlflow']}")


def submitted(site: LiveSite, name: str) -> dict[str, Any]:
    folder = site.folder / name
    folder.mkdir()
    facts = {
        "version": "1.0",
        "kind": "evaluate",
        "name": name,
        "script": "script.py",
        "environment": {"path": sys.prefix},
        "resources": {"memory": "200M", "time_limit": "5"},
    }
    (folder / "recipe.yaml").write_text(json.dumps(facts))
    (folder / "script.py").write_text(f"import time\ntime.sleep({SECONDS})\nprint('done')\n")
    job: dict[str, Any] = site.facts("evaluate", str(folder), "--detach")
    return job


def closed(tracking: Tracking, job: dict[str, Any]) -> None:
    """The run is closed as it should be, once."""
    until(lambda: tracking.run(job["run_id"])["status"] == "FINISHED", "the run is closed")
    run = tracking.run(job["run_id"])
    assert run["tags"]["slurm.job_id"] == str(job["job_id"]) and run["tags"]["slurm.state"] == "COMPLETED"
    assert run["metrics"]["slurm.elapsed_seconds"] >= SECONDS
    assert "batch.sh" in run["artifacts"] and any(name.endswith(".log") for name in run["artifacts"])
    assert len(tracking.history(job["run_id"], "slurm.elapsed_seconds")) == 1


def test_a_job_that_ends_while_the_tracker_is_dead(site: LiveSite, tracking: Tracking) -> None:
    with deaf(site) as pid:
        job = submitted(site, "orphan")
        site.wait_for_job(job["job_id"], "COMPLETED")
        assert tracking.run(job["run_id"])["status"] == "RUNNING"
        os.kill(pid, signal.SIGKILL)
        until(lambda: site.daemons().get("tracker", pid) != pid, "the supervisor has started another tracker")
    closed(tracking, job)


def test_a_job_that_ends_while_mlflow_is_dead(site: LiveSite, tracking: Tracking) -> None:
    log = site.root / "log" / "tracker.out"
    with deaf(site):
        job = submitted(site, "unheard")
        site.wait_for_job(job["job_id"], "COMPLETED")
        os.kill(site.daemons()["mlflow"], signal.SIGKILL)
    until(lambda: "NewConnectionError" in log.read_text(), "the tracker has met an MLflow that does not answer")
    site.run("up")  # waits until MLflow is healthy again
    closed(tracking, job)


def test_a_submitter_that_died_before_it_wrote_down_the_job(site: LiveSite, tracking: Tracking) -> None:
    """What is on disk then: a record without the job's id, and the id that the job itself noted."""
    with deaf(site):
        job = submitted(site, "unnoted")
        record = Path(site.facts("jobs", "show", str(job["job_id"]))["folder"]) / "record.json"
        facts = json.loads(record.read_text())
        record.write_text(json.dumps({**facts, "job_id": 0}))
    closed(tracking, job)
    until(lambda: json.loads(record.read_text())["state"] == "COMPLETED", "the record is closed")
    assert json.loads(record.read_text())["job_id"] == job["job_id"]
