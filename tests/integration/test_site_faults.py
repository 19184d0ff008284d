"""Whatever is killed, whenever: the next ``up`` ends well, and no record of a job is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable

import pytest
from live_site import LiveSite, until

SERVICES = (
    "munged", "mariadb", "slurmdbd", "slurmctld", "slurmd-node02", "postgresql", "object-store", "mlflow",
    "gateway", "tracker",
)  # fmt: skip
SEED = 20250607
ROUNDS = 4
#: How long each kind of ``up`` takes at most on the reference machine, in seconds.
LONGEST = {"first": 7.0, "again": 4.5, "grow": 2.5, "shrink": 3.0}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def wait_until_written_down(site: LiveSite) -> None:
    """slurmctld writes its jobs down at most five seconds after they have changed; no sooner is a job on record."""
    now = time.time()
    kept = site.root / "data" / "slurmctld" / "job_state"
    until(lambda: kept.stat().st_mtime > now or time.time() > now + 6, "slurmctld has written its jobs down")


@pytest.fixture(scope="module")
def record(shared_site: LiveSite) -> int:
    """A job that has ended, whose record must outlive everything here."""
    shared_site.write()
    shared_site.run("up")
    job_id = shared_site.sbatch("--job-name=record", "--wrap=echo kept")
    shared_site.wait_for_job(job_id, "COMPLETED")
    until(lambda: shared_site.states().get(job_id) == "COMPLETED", "accounting knows the job")
    wait_until_written_down(shared_site)
    return job_id


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_daemon_comes_back(site: LiveSite, record: int, service: str) -> None:
    before = site.daemons()
    if service not in before:
        assert service == "tracker"
        return
    kill(before[service])
    until(
        lambda: site.daemons().get(service, before[service]) != before[service], f"{service} is started again"
    )
    site.run("up")
    site.must_be_up()
    assert site.plan() == []
    after = site.daemons()
    assert after[service] != before[service]
    assert site.states()[record] == "COMPLETED"
    assert site.job(record)["JobName"] == "record"


def test_a_job_outlives_the_daemons_of_its_node(site: LiveSite) -> None:
    job_id = site.sbatch("--nodelist=node01", "--wrap=echo begun; sleep 10; echo through")
    log = site.folder / f"slurm-{job_id}.out"
    until(lambda: log.exists() and log.read_text() == "begun\n", "the job has begun")
    wait_until_written_down(site)
    daemons = site.daemons()
    for service in ("slurmd-node01", "slurmctld"):
        kill(daemons[service])
    site.run("up")
    assert site.wait_for_job(job_id, "COMPLETED")["Restarts"] == "0"
    assert site.printed(job_id) == "begun\nthrough\n"


def test_the_supervisor_alone_is_killed(site: LiveSite, record: int) -> None:
    supervisor, orphans = site.supervisor(), site.daemons()
    assert supervisor is not None
    kill(supervisor)
    until(lambda: not os.path.exists(f"/proc/{supervisor}"), "the supervisor is gone")
    status = site.facts("status", code=1)
    # One that prints ends by itself: nobody reads what it says any more.
    assert status["strays"] >= len(orphans) - 3
    assert "sweep:strays" in site.plan()
    assert "sweep:strays" in site.up()
    site.must_be_up()
    assert not set(orphans.values()) & set(site.processes())
    assert site.states()[record] == "COMPLETED"


def test_down_finds_the_orphans_of_a_killed_supervisor(site: LiveSite, record: int) -> None:
    supervisor = site.supervisor()
    assert supervisor is not None
    kill(supervisor)
    site.run("down")
    assert site.processes() == {}
    site.run("up")
    assert site.states()[record] == "COMPLETED"


def test_the_supervisor_and_all_its_children_are_killed(site: LiveSite, record: int) -> None:
    job_id = site.sbatch("--nodelist=node01", "--wrap=sleep 60")
    site.wait_for_job(job_id, "RUNNING")
    wait_until_written_down(site)
    site.crash()
    assert site.processes() == {}
    site.run("up")
    site.must_be_up()
    assert site.states()[record] == "COMPLETED"
    # Slurm notices that the node knows nothing of the job any more, and puts it back into the queue.
    assert site.wait_for_job(job_id, "PENDING", "RUNNING")["JobName"] == "wrap"
    until(lambda: job_id in site.states(), "accounting learns of the job")
    site.shell("scancel", str(job_id))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_up_is_killed_at_any_instant(new_site: Callable[[str], LiveSite], round_: int) -> None:
    """Twenty kills in all, of an ``up`` that makes everything for the first time, starts all of it again, adds a
    node, or drains and removes one."""
    site = new_site("killed")
    chance = random.Random(SEED + round_)
    known: dict[int, str] = {}
    for work in ("first", "first" if round_ == 1 else "again", "grow", "shrink", "grow"):
        instant = chance.uniform(0.1, LONGEST[work])
        if work in ("first", "again"):
            site.crash()
        if work == "first":
            shutil.rmtree(site.root, ignore_errors=True)
        site.write(count=3 if work == "grow" else 2)
        with site.start("up") as process:
            time.sleep(instant)
            process.kill()
        site.run("up")
        assert len(site.must_be_up()["nodes"]) == (3 if work == "grow" else 2)
        assert all(entry["time"] for entry in site.journal)
        if work == "first":
            known = {site.sbatch("--wrap=true"): "COMPLETED"}
            until(lambda known=known: site.states() == known, "accounting knows the job")  # type: ignore[misc]
        assert site.states() == known, f"{work}: killed after {instant:.2f} s"
    if round_ % 2:
        return
    # Killed once more, and then nothing but `down`.
    site.crash()
    with site.start("up") as process:
        time.sleep(chance.uniform(0.5, LONGEST["again"]))
        process.kill()
    site.run("down")
    assert site.processes() == {}
