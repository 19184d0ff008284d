"""The tracker closes the run of every job that ended, whatever happened to it, to MLflow or to who submitted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from live_site import LiveSite, until

from ai_how.client.tracking import Tracking
from ai_how.errors import NotFound

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


def submitted(site: LiveSite, name: str, seconds: int = SECONDS) -> dict[str, Any]:
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
    (folder / "script.py").write_text(f"import time\ntime.sleep({seconds})\nprint('done')\n")
    job: dict[str, Any] = site.facts("evaluate", str(folder), "--detach")
    return job


def copied(source: Path, target: Path) -> bool:
    """Copy a folder of slurmctld's; false when a file of it was being replaced."""
    shutil.rmtree(target, ignore_errors=True)
    try:
        # What it is writing just now has another name until it is whole.
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.new"))
    except (OSError, shutil.Error):
        return False
    return True


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

    def kill() -> None:
        with suppress(KeyError, ProcessLookupError):
            os.kill(site.daemons()["mlflow"], signal.SIGKILL)

    with deaf(site):
        job = submitted(site, "unheard")
        site.wait_for_job(job["job_id"], "COMPLETED")
        told = log.stat().st_size
        kill()

    def met() -> bool:
        kill()  # the supervisor starts another one, which may answer before the tracker asks
        said = log.read_bytes()[told:].decode()
        return f"job {job['job_id']} " in said and "is tried again" in said

    until(met, "the tracker has met an MLflow that does not answer")
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


def test_what_detach_has_answered_survives_the_end_of_everything(site: LiveSite, tracking: Tracking) -> None:
    job = submitted(site, "acknowledged")
    site.crash()
    site.run("up")
    assert site.job(job["job_id"])["JobName"] == "acknowledged"
    until(lambda: tracking.run(job["run_id"])["status"] == "FINISHED", "the run is closed", 120)


@pytest.mark.timeout(300)
def test_a_job_that_slurmctld_had_not_written_down_when_it_was_killed(
    site: LiveSite, tracking: Tracking
) -> None:
    """What is on disk then: the jobs as they were before this one was submitted."""
    states, kept = site.root / "data" / "slurmctld", site.folder / "slurmctld"
    site.write_down()
    until(lambda: copied(states, kept), "a copy of what is on disk")
    job = submitted(site, "forgotten", 60)
    site.crash()
    shutil.rmtree(states)
    shutil.copytree(kept, states)
    site.run("up")
    until(lambda: tracking.run(job["run_id"])["status"] == "FAILED", "the run is closed")
    tags = tracking.run(job["run_id"])["tags"]
    assert tags["slurm.state"] == "LOST" and "before it had written the job down" in tags["ai_how.reason"]
    said = site.facts("jobs", "show", str(job["job_id"]), code=NotFound.exit_code)
    assert "is lost" in said["message"] and "Submit it again" in said["todo"]
    assert (
        next(one for one in site.facts("jobs", "list")["jobs"] if one["id"] == job["job_id"])["state"]
        == "LOST"
    )
    # Its id is given away again, and the two are not taken for each other.
    other = submitted(site, "another")
    assert other["job_id"] == job["job_id"] and other["run_id"] != job["run_id"]
    closed(tracking, other)
    assert site.facts("jobs", "show", str(other["job_id"]))["run_id"] == other["run_id"]
    assert tracking.run(job["run_id"])["status"] == "FAILED"
