"""Whether a model stays served: under steady load, walltime replacements, a drained node, an upgrade, a killed replica,
and a wake from zero by a burst.

    .venv/bin/python benchmarks/continuity.py [--replacements 3] [--workers 4] [--burst 1000] [--json]

A site of its own with real Slurm, the gateway, and llama.cpp serving a model of 110 kB. Time limits are one minute, the
shortest that Slurm has: a replica is replaced when half of it has passed. It prints how many requests were answered and
how many failed, and what a wake costs above Slurm's start of a job and the engine's load. Needs the runtime environment
of llama.cpp and about five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / part) for part in ("integration", "contract")]

from live_site import LiveSite, make_home, until  # noqa: E402
from steady import Steady  # noqa: E402
from tiny_gguf import write_tiny_gguf  # noqa: E402

SERVED = ("--name", "tiny", "--context", "128", "--slots", "4")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Watch:
    """The replicas of the site as `ps` shows them."""

    def __init__(self, site: LiveSite) -> None:
        self.site = site
        self.file = site.root / "run" / "serving.json"

    def shown(self) -> Any:
        return json.loads(self.file.read_text())

    def ready(self) -> dict[int, Any]:
        """Those in rotation, by job."""
        replicas = self.shown()["replicas"]
        return {one["job_id"]: one for one in replicas if one["phase"] == "ready" and not one["draining"]}

    def settled(self, count: int, *, gone: set[int], timeout: float = 150) -> None:
        """Until so many are in rotation, and none of ``gone`` is there any more."""

        def there() -> bool:
            jobs = {one["job_id"] for one in self.shown()["replicas"]}
            return len(self.ready()) == count and not jobs & gone

        until(there, lambda: f"{count} replicas without {gone}: {self.shown()['replicas']}", timeout)


@contextmanager
def own_site(name: str = "continuity") -> Iterator[LiveSite]:
    home = make_home()
    site = LiveSite(home, name)
    try:
        site.up()
        yield site
    finally:
        site.remove()
        shutil.rmtree(home, ignore_errors=True)


def under_load(
    site: LiveSite, watch: Watch, base_url: str, token: str, asked: argparse.Namespace
) -> dict[str, Any]:
    first, second = (write_tiny_gguf(site.folder / name) for name in ("first.gguf", "second.gguf"))
    site.run("serve", str(first), *SERVED, "--replicas", "2", "--time", "1")
    watch.settled(2, gone=set())
    events = []
    with Steady(base_url, token, "tiny", workers=asked.workers) as load:
        for number in range(asked.replacements):
            watch.settled(2, gone=set(watch.ready()))
            events.append(f"replacement {number + 1}")
            say(
                f"replaced by time limit: {number + 1}; {load.answered} answered, {len(load.failures)} failed"
            )
        # From here on with time enough.
        before = set(watch.ready())
        site.run("serve", str(first), *SERVED, "--time", "30", "--upgrade")
        watch.settled(2, gone=before)
        node = next(iter(watch.ready().values()))["node"]
        gone = {job for job, one in watch.ready().items() if one["node"] == node}
        site.shell("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=maintenance")
        watch.settled(2, gone=gone)
        site.shell("scontrol", "update", f"NodeName={node}", "State=RESUME")
        say(f"{node} drained; {load.answered} answered, {len(load.failures)} failed")
        before = set(watch.ready())
        site.run("serve", str(second), *SERVED, "--time", "30", "--upgrade")
        watch.settled(2, gone=before)
        say(f"upgraded; {load.answered} answered, {len(load.failures)} failed")
    planned = {"answered": load.answered, "failed": len(load.failures), "longest_s": round(load.longest, 3)}
    for failure in load.failures:
        say(f"  {failure}")
    with Steady(base_url, token, "tiny", workers=asked.workers, tokens=64) as load:
        time.sleep(1)
        job = kill_one(site, watch)
        watch.settled(2, gone={job}, timeout=60)
    killed = {
        "answered": load.answered, "failed": len(load.failures), "failed_with_nothing_received": len(load.unbegun),
    }  # fmt: skip
    site.run("stop", "tiny", "--now")
    until(lambda: not watch.shown()["replicas"], "no replica is left")
    return {"planned": planned, "replica killed": killed}


def kill_one(site: LiveSite, watch: Watch) -> int:
    """kill -9 of the launcher and the engine of one replica; its job."""
    job = next(iter(watch.ready()))
    nonce = watch.ready()[job]["nonce"]
    for pid, words in site.processes().items():
        if f"replicas/{nonce}/" in words:
            os.kill(pid, signal.SIGKILL)
    return int(job)


def wake(site: LiveSite, watch: Watch, base_url: str, token: str, burst: int) -> dict[str, Any]:
    """A burst at a sleeping model: all are answered, by one job; and what it took."""
    model = site.folder / "first.gguf"
    site.run("serve", str(model), *SERVED, "--time", "30", "--min", "0", "--idle", "5s")
    costs = []
    for number in range(3):
        asleep(watch)
        costs.append(one_wake(site, base_url, token))
        say(f"wake {number + 1}: {costs[-1]}")
    asleep(watch)
    last = max((one["id"] for one in jobs(site)), default=0)
    answers: list[int] = []
    headers = {"authorization": f"Bearer {token}"}
    client = httpx.Client(
        trust_env=False, timeout=300, headers=headers, limits=httpx.Limits(max_connections=burst)
    )

    def ask() -> None:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        try:
            answers.append(client.post(f"{base_url}/chat/completions", json=body).status_code)
        except httpx.HTTPError:
            answers.append(0)

    began = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(burst)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "burst": burst,
        "answered": answers.count(200),
        "seconds": round(time.monotonic() - began, 2),
        "jobs": sum(one["id"] > last for one in jobs(site)),
        "above_start_and_load_s": round(statistics.median(one["above"] for one in costs), 3),
        "wakes": costs,
    }


def asleep(watch: Watch) -> None:
    def still() -> bool:
        shown = watch.shown()
        return shown["models"][0]["state"] == "asleep" and not shown["replicas"]

    until(still, "the model sleeps", 60)


def jobs(site: LiveSite) -> list[dict[str, Any]]:
    lines = site.shell("squeue", "--noheader", "--states=all", "--format=%i %j").splitlines()
    return [{"id": int(line.split()[0]), "name": line.split()[1]} for line in lines]


def one_wake(site: LiveSite, base_url: str, token: str) -> dict[str, float]:
    """Seconds from a request to its answer, and the parts of it: until Slurm has the job, Slurm's and the launcher's
    start, the engine's load, and from its record to the answer. ``above`` is what is neither start nor load."""
    headers = {"authorization": f"Bearer {token}"}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}

    def ask() -> float:
        began = time.monotonic()
        answer = httpx.post(
            f"{base_url}/chat/completions", json=body, headers=headers, timeout=120, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        return time.monotonic() - began

    asked = time.time()
    whole = ask()
    answering = ask()
    said = [
        line
        for line in (site.root / "log" / "reconciler.out").read_text().splitlines()
        if "asked for:" in line
    ]
    stamp, milliseconds = said[-1].split(" INFO")[0].split(",")
    submitted = time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S")) + int(milliseconds) / 1000
    (record,) = (json.loads(path.read_text()) for path in (site.root / "share" / "endpoints").glob("*.json"))
    log = (site.root / "log" / "jobs" / f"serve-tiny-{record['job_id']}.log").read_text()
    load = float(log.rsplit("is ready after ", 1)[1].split()[0])
    parts = {
        "whole": whole, "to_submit": submitted - asked, "start": record["started"] - load - submitted, "load": load,
        "to_answer": asked + whole - record["started"] - answering,
    }  # fmt: skip
    return {
        key: round(value, 3)
        for key, value in {**parts, "above": parts["to_submit"] + parts["to_answer"]}.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--replacements", type=int, default=3, help="how often each replica reaches its time limit"
    )
    parser.add_argument("--workers", type=int, default=4, help="clients that ask without a pause")
    parser.add_argument("--burst", type=int, default=1000, help="requests that arrive at the sleeping model")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    asked = parser.parse_args()
    with own_site() as site:
        watch = Watch(site)
        base_url = f"http://127.0.0.1:{site.ports['gateway']}/v1"
        token = (site.root / "etc" / "secrets" / "gateway-token").read_text().strip()
        facts = under_load(site, watch, base_url, token, asked)
        facts["wake"] = wake(site, watch, base_url, token, asked.burst)
    if asked.json:
        print(json.dumps(facts, indent=2))
        return 0
    for name, part in facts.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in part.items() if key != "wakes"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
