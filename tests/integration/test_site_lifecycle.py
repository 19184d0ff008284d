"""A site's life: up, up again, grown, shrunk, down and up with its data, destroyed."""

from __future__ import annotations

import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx
from live_site import LiveSite, until

from ai_how.errors import LockHeld, UsageError
from ai_how.host.inventory import take_inventory


def test_a_second_up_finds_nothing_to_do(site: LiveSite) -> None:
    before = site.daemons()
    assert {
        "munged",
        "mariadb",
        "slurmdbd",
        "slurmctld",
        "postgresql",
        "object-store",
        "mlflow",
        "gateway",
    } <= set(before)
    assert site.plan() == []
    assert site.up() == []
    assert site.daemons() == before
    assert "Nothing to do" in site.run("plan").stdout
    assert site.journal[-1]["event"] == "done"


def test_every_step_says_why(site: LiveSite) -> None:
    steps = site.facts("plan")["steps"]
    assert len(steps) >= 13
    assert all(step["why"] for step in steps)


def test_status_tells_people_and_programs_the_same(site: LiveSite) -> None:
    facts = site.facts("status")
    assert facts["up"] and facts["strays"] == 0
    assert [node["name"] for node in facts["nodes"]] == ["node01", "node02", "node03", "node04"]
    assert all(one["state"] == "running" and one["healthy"] for one in facts["services"])
    shown = site.run("status").stdout
    assert all(one["name"] in shown and str(one["pid"]) in shown for one in facts["services"])


def test_nothing_listens_beyond_loopback(site: LiveSite) -> None:
    import psutil

    own = set(site.processes())
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections(kind="inet")
        if connection.pid in own and connection.status == psutil.CONN_LISTEN
    }
    if take_inventory(site.root).loopback_name:
        assert addresses <= {"127.0.0.1", "::1"}
    else:
        assert "/etc/hosts keeps them on loopback" in site.run("validate").stderr


def test_no_secret_is_in_an_argument_list_or_a_log(site: LiveSite) -> None:
    secrets = [
        path.read_text(errors="replace").strip()
        for path in (site.root / "etc" / "secrets").iterdir()
        if path.name != "munge.key"
    ]
    assert len(secrets) >= 4
    texts = [
        *site.processes().values(),
        *(path.read_text(errors="replace") for path in site.root.glob("log/*.*")),
    ]
    texts.append((site.root / "state" / "journal.jsonl").read_text())
    assert not [secret for secret in secrets for text in texts if secret in text]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (site.root / "etc" / "secrets").iterdir())


def test_the_cluster_grows_and_shrinks_around_running_jobs(site: LiveSite) -> None:
    stays = site.sbatch("--nodelist=node01", "--wrap=sleep 12")
    started = site.wait_for_job(stays, "RUNNING")["StartTime"]
    before = site.daemons()

    site.write(count=6)
    steps = site.up()
    assert {"create:slurmd-node05", "create:slurmd-node06"} <= set(steps)
    assert len(site.status()["nodes"]) == 6
    after = site.daemons()
    untouched = set(before) - {"slurmctld"}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
    assert site.shell("srun", "--nodelist=node[05-06]", "--nodes=2", "printenv", "SLURMD_NODENAME").split()

    # It runs until it is told, however long the rest takes on a busy machine.
    told = site.folder / "leave"
    leaves = site.sbatch("--nodelist=node06", f"--wrap=while [ ! -e {told} ]; do sleep 0.2; done")
    site.wait_for_job(leaves, "RUNNING")
    site.write(count=4)
    with site.start("up") as shrinking:
        until(
            lambda: "DRAIN" in site.shell("scontrol", "--oneliner", "show", "node", "node06"),
            "node06 is drained",
        )
        assert site.job(leaves)["JobState"] == "RUNNING"
        assert shrinking.poll() is None
        told.touch()
        _, said = shrinking.communicate(timeout=120)
    assert shrinking.returncode == 0, said
    assert f"node06 is drained when job {leaves}" in said
    assert [node["name"] for node in site.status()["nodes"]] == ["node01", "node02", "node03", "node04"]
    assert not [words for words in site.processes().values() if "node05" in words or "node06" in words]
    until(lambda: site.states().get(leaves) == "COMPLETED", "accounting knows how it ended")

    ended = site.wait_for_job(stays, "COMPLETED")
    assert (ended["StartTime"], ended["Restarts"]) == (started, "0")


def test_down_leaves_data_and_no_process_and_up_brings_all_of_it_back(site: LiveSite) -> None:
    done = site.sbatch("--wrap=hostname")
    site.wait_for_job(done, "COMPLETED")
    # Long enough to be running at `down`, however busy the machine is; at once in its second life.
    script = '[ -n "${SLURM_RESTART_COUNT:-}" ] || sleep 300; echo ended'
    running = site.sbatch("--nodelist=node02", f"--wrap={script}")
    site.wait_for_job(running, "RUNNING")
    mlflow = f"http://127.0.0.1:{site.ports['mlflow']}"
    run_id = _log_run(mlflow)
    ports, store = site.ports, site.daemons()["object-store"]

    said = site.run("down").stderr
    assert f"job {running}" in said and "goes back into the queue" in said
    assert site.processes() == {}
    assert (site.root / "data").is_dir()
    assert not [path for port in ports.values() for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]
    assert not list(Path("/tmp").glob(f"weed.*.{store}"))
    assert not [port for port in ports.values() if _listens(port)]
    status = site.facts("status", code=1)
    assert not status["up"] and {one["state"] for one in status["services"]} == {"stopped"}
    site.run("down")

    site.run("up")
    assert site.ports == ports
    # slurmctld tells slurmdbd a moment later what it had not yet told it when it was stopped.
    until(lambda: site.states().get(done) == "COMPLETED", "accounting has the job that had ended")
    # Slurm lets a requeued job wait until its former credentials have expired; nobody has to wait here.
    site.shell("scontrol", "update", f"JobId={running}", "StartTime=now")
    assert site.wait_for_job(running, "COMPLETED")["Restarts"] == "1"
    assert site.printed(running).endswith("ended\n")
    run = httpx.get(f"{mlflow}/api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]
    assert [metric["value"] for metric in run["data"]["metrics"]] == [0.5]
    assert httpx.get(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts/kept/note.txt").text == "still here"


def _log_run(mlflow: str) -> str:
    """A run (a row in PostgreSQL) and an artifact (an object in the object store), over REST."""
    with httpx.Client(base_url=f"{mlflow}/api/2.0", timeout=30) as client:
        made = client.post("/mlflow/runs/create", json={"experiment_id": "0"}).raise_for_status().json()
        run_id = str(made["run"]["info"]["run_id"])
        metric = {
            "run_id": run_id,
            "key": "loss",
            "value": 0.5,
            "timestamp": int(time.time() * 1000),
            "step": 1,
        }
        client.post("/mlflow/runs/log-metric", json=metric).raise_for_status()
        client.put("/mlflow-artifacts/artifacts/kept/note.txt", content=b"still here").raise_for_status()
    return run_id


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_second_of_two_ups_says_who_holds_the_lock(site: LiveSite) -> None:
    site.write(count=5)
    with site.start("up") as first:
        until(lambda: (site.root / "state" / "lock").read_text(), "the first up holds the lock")
        first.send_signal(signal.SIGSTOP)
        try:
            said = site.run("up", code=LockHeld.exit_code).stderr
            assert f"`ai-how up` (process {first.pid}" in said
            assert site.facts("down", code=LockHeld.exit_code)["error"] == "LockHeld"
        finally:
            first.send_signal(signal.SIGCONT)
        first.communicate(timeout=120)
    assert first.returncode == 0


def test_a_node_leaves_while_the_site_is_down(site: LiveSite) -> None:
    site.write(count=5)
    site.up()
    site.run("down")
    site.write()
    assert "remove:slurmd-node05" in site.up()
    assert (
        site.shell("sinfo", "--noheader", "--Node", "--format=%N", "--partition=gpu").split()[-1] == "node04"
    )
    assert site.plan() == []


def test_two_sites_do_not_meet(site: LiveSite, new_site: Callable[[str], LiveSite]) -> None:
    before = site.daemons()
    other = new_site("other")
    other.write(count=2)
    other.run("up")
    assert not set(site.ports.values()) & set(other.ports.values())
    assert not set(site.processes()) & set(other.processes())
    nodes = ("sinfo", "--noheader", "--Node", "--format=%N", "--partition=gpu")
    assert other.shell(*nodes).split() == ["node01", "node02"]
    assert site.shell(*nodes).split() == ["node01", "node02", "node03", "node04"]
    assert other.status()["up"] and site.status()["up"]
    with urllib.request.urlopen(f"http://127.0.0.1:{other.ports['gateway']}/healthz", timeout=10) as answer:
        assert answer.status == 200
    assert "nobody to ask" in other.run("destroy", code=UsageError.exit_code).stderr
    assert other.root.exists()
    other.run("destroy", "--yes")
    assert other.processes() == {} and not other.root.exists()
    assert site.daemons() == before and site.is_up()
