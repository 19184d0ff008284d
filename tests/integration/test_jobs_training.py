"""Training jobs on the shared site: their runs, their logs, how they end, and what is refused."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from live_site import LiveSite, until

from ai_how.cli import main
from ai_how.client.tracking import Tracking
from ai_how.errors import CommandFailed, JobFailed, NotFound, SpecError, UsageError
from ai_how.jobs.control import SHIPPED
from ai_how.slurm.parse import expand, moment

EPOCHS = 24
PACE = 1.5


def recipe(site: LiveSite, name: str, script: str, **changes: Any) -> str:
    """A recipe of one stdlib script in a folder of its own; returns the folder."""
    folder = site.folder / name
    folder.mkdir(exist_ok=True)
    facts = {
        "version": "1.0",
        "kind": "evaluate",
        "name": name,
        "script": "script.py",
        "environment": {"path": sys.prefix},
        "resources": {"memory": "200M", "time_limit": "5"},
        **changes,
    }
    (folder / "recipe.yaml").write_text(json.dumps(facts))
    (folder / "script.py").write_text(textwrap.dedent(script))
    return str(folder)


@dataclass
class Told:
    """A job that is told before its time limit, while the other tests run."""

    job_id: int
    run_id: str


@pytest.fixture(scope="module")
def up(shared_site: LiveSite) -> LiveSite:
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    return shared_site


@pytest.fixture(scope="module")
def tracking(up: LiveSite) -> Tracking:
    return Tracking(f"http://127.0.0.1:{up.ports['mlflow']}")


@pytest.fixture(scope="module", autouse=True)
def told(up: LiveSite) -> Iterator[Told]:
    """Digits with a time limit of a minute: too short for it. Slurm tells it within half a minute."""
    folder = up.folder / "told"
    folder.mkdir()
    text = (SHIPPED / "digits" / "recipe.yaml").read_text()
    text = (
        text.replace("name: digits", "name: told")
        .replace('"00:10:00"', '"1"')
        .replace("notice: 60", "notice: 45")
    )
    (folder / "recipe.yaml").write_text(text)
    (folder / "train.py").write_text((SHIPPED / "digits" / "train.py").read_text())
    facts = up.facts(
        "train", str(folder), "--detach", "--set", f"epochs={EPOCHS}", "--set", f"epoch-seconds={PACE}"
    )
    yield Told(facts["job_id"], facts["run_id"])
    up.shell("scancel", str(facts["job_id"]))


@pytest.fixture(scope="module")
def trained(up: LiveSite) -> dict[str, Any]:
    """Digits, for three epochs."""
    facts: dict[str, Any] = up.facts("train", "digits", "--set", "epochs=3")
    return facts


def registered(trained: dict[str, Any]) -> str:
    """The model's name and version: others may have trained one of that name on the shared site."""
    return f"{trained['model']['name']}:{trained['model']['version']}"


def test_the_run_is_written_while_the_job_trains(up: LiveSite, told: Told, tracking: Tracking) -> None:
    until(lambda: tracking.history(told.run_id, "loss"), "a loss in MLflow")
    # Whether Slurm has told it by now or not: that may be as soon as it has begun.
    assert tracking.run(told.run_id)["status"] == "RUNNING"


def test_what_train_says_when_the_job_has_ended(trained: dict[str, Any]) -> None:
    assert trained["state"] == "COMPLETED"
    assert trained["model"]["name"] == "digits" and int(trained["model"]["version"]) >= 1
    assert trained["result"]["nodes"] == 2 and trained["result"]["world_size"] == 2
    assert trained["result"]["accuracy"] > 0.8
    assert trained["accounting"]["slurm.elapsed_seconds"] >= 1


def test_the_run_holds_everything(
    up: LiveSite, trained: dict[str, Any], tracking: Tracking, tmp_path: Path
) -> None:
    run = tracking.run(trained["run_id"])
    assert run["status"] == "FINISHED"
    asked = {"epochs": "3", "nodes": "2", "world_size": "2", "time_limit": "00:10:00", "learning-rate": "0.1"}
    assert {key: run["params"][key] for key in asked} == asked
    assert run["metrics"]["slurm.cpu_seconds"] > 0 and run["metrics"]["slurm.max_rss_bytes"] > 1e7
    assert run["metrics"]["slurm.restarts"] == 0
    assert run["tags"]["slurm.job_id"] == str(trained["job_id"])
    assert len(list(expand(run["tags"]["slurm.nodes"]))) == 2
    log = Path(up.facts("jobs", "show", str(trained["job_id"]))["log"])
    assert {"batch.sh", "result.json", "model", log.name} <= set(run["artifacts"])
    assert [step for step, _ in tracking.history(trained["run_id"], "loss")] == [0, 1, 2]
    folder = tracking.download(tracking.find(registered(trained)), tmp_path / "digits")
    assert {"weights.pt", "README.md"} <= {path.name for path in folder.iterdir()}


def test_jobs_are_listed_shown_and_their_logs_read(up: LiveSite, trained: dict[str, Any]) -> None:
    job_id = trained["job_id"]
    listed = {job["id"]: job for job in up.facts("jobs", "list")["jobs"]}
    assert listed[job_id]["state"] == "COMPLETED" and listed[job_id]["run_id"] == trained["run_id"]
    assert f"{trained['run_id']}" in up.run("jobs", "list").stdout
    shown = up.facts("jobs", "show", str(job_id))
    assert shown["model"] == registered(trained) and shown["kind"] == "train" and shown["restarts"] == 0
    assert Path(shown["batch_script"]).read_text().startswith("#!/bin/bash")
    assert registered(trained) in up.run("jobs", "show", str(job_id)).stdout
    log = up.run("jobs", "logs", str(job_id)).stdout
    assert log.count("epoch ") == 3
    assert up.facts("jobs", "logs", str(job_id))["text"] == log
    assert up.run("jobs", "logs", "-f", str(job_id)).stdout == log


def test_a_job_that_was_told_waits_for_half_a_minute(up: LiveSite, told: Told) -> None:
    until(lambda: int(up.job(told.job_id)["Restarts"]) >= 1, "Slurm has put the job back into its queue", 90)
    job = up.job(told.job_id)
    waits = moment(job["EligibleTime"]) - moment(job["SubmitTime"])
    assert 30 <= waits <= 33
    # Time enough to end in its second life.
    up.shell("scontrol", "update", f"JobId={told.job_id}", "TimeLimit=10")


def test_a_log_is_followed_to_the_end_of_a_failing_job(up: LiveSite, tracking: Tracking) -> None:
    script = "import time\nfor n in range(3): print('line', n); time.sleep(0.3)\nraise SystemExit(4)\n"
    job = up.facts("evaluate", recipe(up, "follow", script), "--detach")
    said = up.run("jobs", "logs", "-f", str(job["job_id"]), code=JobFailed.exit_code)
    assert said.stdout.splitlines()[:3] == ["line 0", "line 1", "line 2"]
    assert "exit code 4:0" in said.stderr
    until(lambda: tracking.run(job["run_id"])["status"] == "FAILED", "the run is closed")


def test_a_script_that_fails_shows_its_last_lines(up: LiveSite, tracking: Tracking) -> None:
    script = "for n in range(50): print('line', n)\nraise SystemExit('the data are gone')\n"
    said = up.run("evaluate", recipe(up, "fails", script), code=JobFailed.exit_code)
    assert "the data are gone" in said.stderr and "line 49" in said.stderr
    assert "line 1\n" not in said.stderr
    job = next(job for job in up.facts("jobs", "list")["jobs"] if job["name"] == "fails")
    assert job["state"] == "FAILED"
    until(lambda: tracking.run(job["run_id"])["status"] == "FAILED", "the run is closed")
    run = tracking.run(job["run_id"])
    assert {"slurm.elapsed_seconds", "slurm.cpu_seconds", "slurm.max_rss_bytes"} <= set(run["metrics"])
    assert {"batch.sh", f"fails-{job['id']}.log"} <= set(run["artifacts"])


def test_a_training_that_fails_on_one_node_fails_whole(up: LiveSite) -> None:
    script = "import os, sys\nif os.environ['RANK'] == '1': sys.exit('rank 1 gives up')\n"
    folder = recipe(up, "half", script, kind="train", environment={"venv": "torch"}, resources={"nodes": 2})
    said = up.facts("train", folder, code=JobFailed.exit_code)
    assert said["error"] == "JobFailed" and "rank 1 gives up" in said["detail"]


def test_a_cancelled_job_has_a_killed_run(up: LiveSite, tracking: Tracking) -> None:
    job = up.facts("evaluate", recipe(up, "cancelled", "import time; time.sleep(300)\n"), "--detach")
    up.wait_for_job(job["job_id"], "RUNNING")
    assert up.facts("jobs", "cancel", str(job["job_id"])) == {"job_id": job["job_id"], "cancelled": True}
    until(lambda: tracking.run(job["run_id"])["status"] == "KILLED", "the run is closed as killed")
    assert up.facts("jobs", "show", str(job["job_id"]))["state"] == "CANCELLED"


def test_a_job_of_other_means_is_listed_too(up: LiveSite) -> None:
    job_id = up.sbatch("--job-name=foreign", "--mem=50M", "--wrap=true")
    job = next(job for job in up.facts("jobs", "list")["jobs"] if job["id"] == job_id)
    assert job["name"] == "foreign" and job["run_id"] is None
    assert up.facts("jobs", "show", str(job_id))["id"] == job_id
    said = up.facts("jobs", "logs", str(job_id), code=NotFound.exit_code)
    assert "not submitted through ai-how" in said["message"]


REFUSED = {
    "no recipe of that name": (("train", "nonesuch"), NotFound, "no recipe 'nonesuch'"),
    "no script": (("evaluate", "{scriptless}"), NotFound, "script.py"),
    "unknown key": (("evaluate", "{unknown}"), SpecError, "Did you mean 'resources'"),
    "no pair": (("train", "digits", "--set", "epochs"), UsageError, "KEY=VALUE"),
    "no key": (("train", "digits", "--set", "=3"), SpecError, "command line"),
    "another kind": (("train", "exact-match"), UsageError, "ai-how evaluate exact-match"),
    "no nodes": (("train", "digits", "--nodes", "0"), SpecError, "nodes"),
    "no time": (("train", "digits", "--time", "soon"), SpecError, "soon"),
    "told at once": (("train", "digits", "--time", "1"), SpecError, "notice"),
    "no job": (("jobs", "show", "999999"), NotFound, "999999"),
    "no log": (("jobs", "logs", "999999"), NotFound, "999999"),
    "nothing to cancel": (("jobs", "cancel", "999999"), NotFound, "999999"),
    "no model to evaluate": (
        ("evaluate", "exact-match", "--model", "nonesuch"),
        NotFound,
        "no model 'nonesuch'",
    ),
    "no model to serve": (("serve", "nonesuch"), NotFound, "no model 'nonesuch'"),
    "no model to show": (("models", "show", "nonesuch"), NotFound, "no model 'nonesuch'"),
    "no model to convert": (("models", "convert", "nonesuch"), NotFound, "no model 'nonesuch'"),
    "no model to promote": (("models", "promote", "nonesuch", "champion"), NotFound, "no model 'nonesuch'"),
    "no folder to register": (("models", "register", "x", "/nonesuch"), NotFound, "/nonesuch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(
    up: LiveSite, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, kind, expected = REFUSED[case]
    (Path(recipe(up, "scriptless", "")) / "script.py").unlink()
    folders = {"scriptless": str(up.folder / "scriptless"), "unknown": recipe(up, "unknown", "", resorces={})}
    monkeypatch.setenv("AI_HOW_HOME", str(up.home))
    before = _traces(up)
    assert main([*(word.format(**folders) for word in words), "--file", str(up.file)]) == kind.exit_code
    said = capsys.readouterr()
    assert said.out == "" and expected in said.err and "next:" in said.err
    assert _traces(up) == before


@pytest.mark.parametrize("words", [("--nodes", "40"), ("--time", "30-00:00:00"), ("--partition", "nonesuch")])
def test_what_slurm_refuses_leaves_no_job(up: LiveSite, tracking: Tracking, words: tuple[str, ...]) -> None:
    before, runs = _traces(up), _runs(tracking)
    said = up.facts("train", "digits", *words, code=CommandFailed.exit_code)
    assert "sbatch refused" in said["message"]
    assert _traces(up) == before and _runs(tracking) == runs


def _runs(tracking: Tracking) -> set[str]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking.uri)
    return {
        run.info.run_id
        for run in client.search_runs([one.experiment_id for one in client.search_experiments()])
    }


def _traces(site: LiveSite) -> set[str]:
    return {
        path.name
        for name in ("jobs", "models", "endpoints")
        for path in (site.root / "share" / name).iterdir()
    }


def test_a_job_that_was_told_goes_on_where_it_was(up: LiveSite, told: Told, tracking: Tracking) -> None:
    until(lambda: tracking.run(told.run_id)["status"] != "RUNNING", "the run has ended", 120)
    run = tracking.run(told.run_id)
    assert run["status"] == "FINISHED" and run["metrics"]["slurm.restarts"] >= 1
    steps = [step for step, _ in tracking.history(told.run_id, "loss")]
    assert steps == list(range(EPOCHS))
    log = up.run("jobs", "logs", str(told.job_id)).stdout
    left, resumed = log.index("told to leave: saved at"), log.index("resumed at")
    assert left < resumed
    assert (
        log[left:].split("saved at ")[1].splitlines()[0]
        == log[resumed:].split("resumed at ")[1].splitlines()[0]
    )
    lives = up.sacct("--duplicates", "--allocations", f"--jobs={told.job_id}", "--format=State,ElapsedRaw")
    assert [row[0] for row in lives] == ["REQUEUED"] * (len(lives) - 1) + ["COMPLETED"] and len(lives) >= 2
    assert run["metrics"]["slurm.elapsed_seconds"] == sum(int(row[1]) for row in lives)
    shown = up.facts("jobs", "show", str(told.job_id))
    assert shown["restarts"] >= 1 and shown["state"] == "COMPLETED" and shown["model"] == "told:1"
