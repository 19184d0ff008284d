"""A model stays served under steady load: time limit, drained node, upgrade, preemption, kill, sleep and wake."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_site import LiveSite, until
from steady import Steady

from ai_how.errors import NotFound
from ai_how.serving.replicas import SiteFolders, Store

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from tiny_gguf import write_tiny_gguf

SERVED = ("--name", "steady", "--context", "128", "--slots", "4")
BURST = 200
#: Jobs of one partition make room for those of another, within so long; those who asked for a signal get it.
PREEMPTING = (
    "        - {name: urgent, priority: 10}\n"
    "        - {name: spare, grace_time: 3m}\n"
    "      preemption: {type: partition, mode: cancel, send_user_signal: true}\n"
)


class Watch:
    """The model's replicas as the reconciler shows them."""

    def __init__(self, site: LiveSite) -> None:
        self.site = site

    def facts(self) -> Any:
        return json.loads((self.site.root / "run" / "serving.json").read_text())

    def replicas(self) -> list[dict[str, Any]]:
        return [one for one in self.facts()["replicas"] if one["model"] == "steady"]

    def ready(self) -> dict[int, dict[str, Any]]:
        """Those in rotation, by job."""
        return {
            one["job_id"]: one for one in self.replicas() if one["phase"] == "ready" and not one["draining"]
        }

    def replaced(self, gone: set[int], count: int = 2, timeout: float = 60) -> None:
        """Until so many are in rotation, and ``gone`` have ended."""
        until(
            lambda: len(self.ready()) == count and not gone & {one["job_id"] for one in self.replicas()},
            lambda: f"{count} replicas without {gone}: {self.replicas()}",
            timeout,
        )

    def state(self) -> str:
        return next((str(one["state"]) for one in self.facts()["models"] if one["model"] == "steady"), "")


@pytest.fixture(scope="module")
def up(shared_site: LiveSite) -> Iterator[LiveSite]:
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    yield shared_site
    if any(one["model"] == "steady" for one in shared_site.facts("ps")["models"]):
        shared_site.run("stop", "steady", "--now")


def test_no_request_fails_whatever_happens_to_the_replicas(up: LiveSite) -> None:
    watch = Watch(up)
    first, second = (str(write_tiny_gguf(up.folder / name)) for name in ("first.gguf", "second.gguf"))
    # The shortest time limit that Slurm has; half of it is a replica's own. Each takes a node for itself.
    up.run("serve", first, *SERVED, "--replicas", "2", "--cpus", "2", "--time", "1")
    base_url = f"http://127.0.0.1:{up.ports['gateway']}/v1"
    token = up.shell("printenv", "OPENAI_API_KEY").strip()
    with Steady(base_url, token, "steady", workers=3) as load:
        until(lambda: len(watch.ready()) == 2, "both replicas")
        first_two = watch.ready()
        node = next(iter(first_two.values()))["node"]
        there = {job for job, one in first_two.items() if one["node"] == node}
        assert len(there) == 1
        up.shell("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=maintenance")
        try:
            watch.replaced(there)
            assert node not in {one["node"] for one in watch.ready().values()}
        finally:
            up.shell("scontrol", "update", f"NodeName={node}", "State=RESUME")
        # The others have reached half of their time by now, or will.
        watch.replaced(set(first_two), timeout=75)
        # Another version, with more time: all of it changes hands.
        before = set(watch.ready())
        up.run("serve", second, *SERVED, "--time", "20", "--upgrade")
        watch.replaced(before)
        shown = {one["model"]: one["source"] for one in watch.facts()["models"]}
        assert shown["steady"] == second
    assert load.failures == [] and load.answered > 100
    with Steady(base_url, token, "steady", workers=3, tokens=64) as load:
        until(lambda: load.answered > 5, "answers")
        job, one = next(iter(watch.ready().items()))
        for pid, words in up.processes().items():
            if f"replicas/{one['nonce']}/" in words:
                os.kill(pid, signal.SIGKILL)
        watch.replaced({job})
    # What had begun on it may fail; what had not is asked elsewhere.
    assert load.unbegun == [] and len(load.failures) <= 3


def test_the_reconciler_may_be_killed_at_any_time(up: LiveSite) -> None:
    watch = Watch(up)
    before = set(watch.ready())
    assert len(before) == 2
    os.kill(up.daemons()["reconciler"], signal.SIGKILL)
    at = watch.facts()["at"]
    until(lambda: watch.facts()["at"] > at and len(watch.ready()) == 2, "the replicas, seen by another one")
    assert set(watch.ready()) == before
    up.must_be_up()


def test_it_goes_back_to_the_version_before(up: LiveSite) -> None:
    facts = up.facts("serve", "steady", "--rollback")
    assert facts["source"].endswith("first.gguf") and facts["phase"] == "ready"
    models = {one["model"]: one for one in up.facts("ps")["models"]}
    assert models["steady"]["source"].endswith("first.gguf") and models["steady"]["previous"] is None
    said = up.run("serve", "steady", "--rollback", code=NotFound.exit_code).stderr
    assert "steady has no version to go back to" in said
    up.run("stop", "steady", "--now")
    until(lambda: Watch(up).replicas() == [], "no replica is left")


def test_many_requests_wake_a_sleeping_model_once(up: LiveSite) -> None:
    watch = Watch(up)
    model = str(write_tiny_gguf(up.folder / "first.gguf"))
    woken = up.facts("serve", model, *SERVED, "--time", "20", "--min", "0", "--idle", "2s")["job_id"]
    until(lambda: watch.state() == "asleep" and watch.replicas() == [], "it sleeps")
    base_url = f"http://127.0.0.1:{up.ports['gateway']}/v1"
    headers = {"authorization": f"Bearer {up.shell('printenv', 'OPENAI_API_KEY').strip()}"}
    body = {"model": "steady", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    answers: list[int] = []
    limits = httpx.Limits(max_connections=BURST)
    with httpx.Client(trust_env=False, timeout=120, headers=headers, limits=limits) as client:

        def ask() -> None:
            answers.append(client.post(f"{base_url}/chat/completions", json=body).status_code)

        threads = [threading.Thread(target=ask) for _ in range(BURST)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * BURST
    lines = up.shell("squeue", "--noheader", "--states=all", "--format=%i %j").splitlines()
    served = [int(line.split()[0]) for line in lines if line.split()[1] == "serve-steady"]
    assert len([job for job in served if job > woken]) == 1
    up.run("stop", "steady")
    until(lambda: watch.replicas() == [], "no replica is left")


def test_a_replica_that_slurm_preempts_is_replaced_before_it_ends(up: LiveSite) -> None:
    watch = Watch(up)
    model = str(write_tiny_gguf(up.folder / "first.gguf"))
    before, after = up.file.read_text().split("      default_partition:")
    up.file.write_text(f"{before}{PREEMPTING}      default_partition:{after}")
    up.run("up")
    urgent = 0
    try:
        asked = ("--replicas", "2", "--cpus", "2", "--time", "20", "--partition", "spare")
        up.run("serve", model, *SERVED, *asked)
        until(lambda: len(watch.ready()) == 2, "both replicas")
        base_url = f"http://127.0.0.1:{up.ports['gateway']}/v1"
        token = up.shell("printenv", "OPENAI_API_KEY").strip()
        with Steady(base_url, token, "steady", workers=3) as load:
            until(lambda: load.answered > 5, "answers")
            job, one = next(iter(watch.ready().items()))
            words = ("--partition=urgent", f"--nodelist={one['node']}", "--mem=100M", "--time=5")
            urgent = up.sbatch(*words, "--wrap=sleep 200")
            watch.replaced({job}, timeout=120)
            ended = load.answered
            until(lambda: load.answered > ended + 5, "answers of those that are left")
        assert load.failures == []
        assert one["node"] not in {other["node"] for other in watch.ready().values()}
        assert up.wait_for_job(urgent, "RUNNING")["NodeList"] == one["node"]
        log = up.root / "log" / "jobs" / f"serve-steady-{job}.log"
        assert "told that its end is near" in log.read_text()
    finally:
        if urgent:
            up.shell("scancel", str(urgent))
        up.run("stop", "steady", "--now")
        up.write()
        up.run("up")


def test_the_file_says_what_is_served(up: LiveSite) -> None:
    watch = Watch(up)
    model = write_tiny_gguf(up.folder / "first.gguf")
    wanted = f"{{name: steady, source: {model}, context: 128, resources: {{time_limit: '20'}}}}"
    models = f"models: [{wanted}, {{name: ghost, source: ghost}}]"
    up.file.write_text(f"{up.file.read_text()}\nserving:\n  {models}\n")
    try:
        # A model that is not there is no reason for `up` to fail.
        assert any("ghost is not served" in text for text in up.facts("up")["warnings"])
        until(lambda: watch.state() == "ready", "it is served")
        shown = {one["model"]: one for one in up.facts("ps")["models"]}
        assert shown["steady"]["asked_by"] == "file" and shown["ghost"]["state"] == "failed"
        # Stopped by a command, until the next `up`.
        up.run("stop", "steady", "--now")
        until(lambda: watch.state() == "asleep" and watch.replicas() == [], "it is stopped")
        store = Store(SiteFolders.of(up.root))
        assert store.told()["steady"].origin == "command" and store.load("file").models["steady"].current
    finally:
        up.write()
        up.run("up")
    until(lambda: watch.facts()["models"] == [], "nothing is wanted any more")
