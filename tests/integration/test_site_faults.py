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
ROUNDS, KILLS = 4, 5


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
    return job_id


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_daemon_comes_back(site: LiveSite, record: int, service: str) -> None:
    before = site.daemons()
    if service not in before:
        assert service == "tracker"
        return
    kill(before[service])
    until(lambda: site.daemons().get(service, before[service]) != before[service], f"{service} is started again")
    site.run("up")
    assert site.is_up()
    assert site.plan() == []
    after = site.daemons()
    assert after[service] != before[service]
    assert site.states()[record] == "COMPLETED"
    assert site.job(record)["JobName"] == "record"


def test_a_job_outlives_the_daemons_of_its_node(site: LiveSite) -> None:
    job_id = site.sbatch("--nodelist=node01", "--wrap=sleep 4; echo through")
    site.wait_for_job(job_id, "RUNNING")
    daemons = site.daemons()
    for service in ("slurmd-node01", "slurmctld"):
        kill(daemons[service])
    site.run("up")
    assert site.wait_for_job(job_id, "COMPLETED")["Restarts"] == "0"
    assert site.printed(job_id) == "through\n"


def test_the_supervisor_alone_is_killed(site: LiveSite, record: int) -> None:
    supervisor, orphans = site.supervisor(), site.daemons()
    assert supervisor is not None
    kill(supervisor)
    until(lambda: not os.path.exists(f"/proc/{supervisor}"), "the supervisor is gone")
    status = site.facts("status", code=1)
    assert status["strays"] >= len(orphans)
    assert "sweep:strays" in site.plan()
    assert "sweep:strays" in site.up()
    assert site.is_up()
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
    site.crash()
    assert site.processes() == {}
    site.run("up")
    assert site.is_up()
    assert site.states()[record] == "COMPLETED"
    # Slurm notices that the node knows nothing of the job any more, and puts it back into the queue.
    assert job_id in site.states()
    site.shell("scancel", str(job_id))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_up_is_killed_at_any_instant(new_site: Callable[[str], LiveSite], round_: int) -> None:
    """Twenty kills in all: in each round the first ones while everything is made for the first time."""
    site = new_site("killed")
    site.write(count=2)
    chance = random.Random(SEED + round_)
    known: dict[int, str] = {}
    for attempt in range(KILLS):
        # The first two of a round begin with nothing, and have more to do.
        first_time = attempt < 2
        if first_time:
            shutil.rmtree(site.root, ignore_errors=True)
            known = {}
        instant = chance.uniform(0.1, 7.0 if first_time else 4.5)
        with site.start("up") as process:
            time.sleep(instant)
            process.kill()
        site.run("up")
        assert site.is_up(), f"killed after {instant:.2f} s"
        assert site.plan() == []
        assert site.status()["strays"] == 0
        assert known.items() <= site.states().items(), f"killed after {instant:.2f} s"
        job_id = site.sbatch("--wrap=true")
        site.wait_for_job(job_id, "COMPLETED")
        until(lambda job_id=job_id: site.states().get(job_id) == "COMPLETED", "accounting knows the job")  # type: ignore[misc]
        known = site.states()
        assert all(entry["time"] for entry in site.journal)
        if attempt < KILLS - 1:
            site.crash()
    site.run("down")
    assert site.processes() == {}
