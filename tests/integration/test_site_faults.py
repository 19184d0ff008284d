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
#: How long each kind of ``up`` takes at most on the reference machine, in seconds.
LONGEST = {"first": 7.0, "again": 4.5, "grow": 2.5, "shrink": 3.0}
#: Twenty in all. What makes and starts everything has everything to make and start; nodes come and go beside Slurm.
ROUNDS = (
    ("first", "again", "again", "first"),
    ("first", "first", "again", "again"),
    ("grow", "shrink") * 3,
    ("grow", "shrink") * 3,
)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def record(shared_site: LiveSite) -> int:
    """A job that has ended, whose record must outlive everything here."""
    shared_site.write()
    shared_site.run("up")
    job_id = shared_site.sbatch("--job-name=record", "--wrap=echo kept")
    shared_site.wait_for_job(job_id, "COMPLETED")
    until(lambda: shared_site.states().get(job_id) == "COMPLETED", "accounting knows the job")
    shared_site.write_down()
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
    site.write_down()
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
    # One that prints ends by itself, sooner or later: nobody reads what it says any more.
    assert status["strays"] >= len([pid for pid in orphans.values() if pid in site.processes()]) > 0
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
    site.write_down()
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
@pytest.mark.parametrize("round_", range(len(ROUNDS)))
def test_up_is_killed_at_any_instant(new_site: Callable[[str], LiveSite], round_: int) -> None:
    """Twenty kills in all, of an ``up`` that makes everything for the first time, starts all of it again, adds a
    node, or drains and removes one."""
    site = new_site("killed")
    chance = random.Random(SEED + round_)
    whole = "first" in ROUNDS[round_]
    known: dict[int, str] = {}
    if not whole:
        site.write(count=2, tracking=False)
        site.run("up")
        known = job_in_accounting(site)
    for work in ROUNDS[round_]:
        count = 3 if work == "grow" else 2
        if whole:
            site.crash()
        if work == "first":
            shutil.rmtree(site.root, ignore_errors=True)
        site.write(count=count, tracking=whole)
        instant = chance.uniform(0.1, LONGEST[work])
        with site.start("up") as process:
            time.sleep(instant)
            process.kill()
        site.run("up")
        assert len(site.must_be_up()["nodes"]) == count
        assert all(entry["time"] for entry in site.journal)
        if work == "first":
            known = job_in_accounting(site)
        assert site.states() == known, f"{work}: killed after {instant:.2f} s"
    if not whole:
        return
    # Killed once more, and then nothing but `down`.
    site.crash()
    with site.start("up") as process:
        time.sleep(chance.uniform(0.5, LONGEST["again"]))
        process.kill()
    site.run("down")
    assert site.processes() == {}


def job_in_accounting(site: LiveSite) -> dict[int, str]:
    """A job that has ended, and how: all that accounting has to know of a new site."""
    known = {site.sbatch("--wrap=true"): "COMPLETED"}
    until(lambda: site.states() == known, "accounting knows the job")
    return known
