"""A cluster that exists, behind a real SSH server whose account has Slurm's commands, a shell and core utilities.

The Slurm behind it is that of the shared site; as root the account is one of its own, as on any cluster.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from live_site import LiveSite, until
from login_node import LoginNode, login_node
from tiny_gguf import write_tiny_gguf

from ai_how.client.tracking import Tracking
from ai_how.errors import CouldNotTell, JobFailed
from ai_how.host import Environments, Folders
from ai_how.jobs.control import Jobs, RecipeFile
from ai_how.jobs.far import Far
from ai_how.jobs.tracker import Tracker
from ai_how.providers.existing import Reach
from ai_how.run import LocalGate, SystemClock
from ai_how.services import Layout
from ai_how.spec.provider import Existing
from ai_how.spec.recipe import parse_recipe

COMMANDS = ("sbatch", "srun", "scancel", "squeue", "sinfo", "scontrol", "sacct", "sacctmgr")
SCRIPT = """
import argparse, json, os, pathlib, time
from ai_how_job.tracking import Run

asked = argparse.ArgumentParser()
asked.add_argument("--steps", type=int)
steps = asked.parse_args().steps
run = Run.of_this_job()
run.params({"uid": os.getuid(), "colour": "blue"})
for step in range(steps):
    run.metrics({"loss": 1 / (step + 1), "train/accuracy": step / 10}, step=step)
    print("step", step, flush=True)
    time.sleep(0.4)
result = pathlib.Path(os.environ["AI_HOW_OUTPUT_DIR"], "result.json")
result.write_text(json.dumps({"steps": steps, "facts": json.load(open(os.environ["AI_HOW_FACTS"]))["site"]}))
run.artifact(result)
run.close()
"""
RECIPE = {
    "version": "1.0",
    "kind": "evaluate",
    "name": "steps",
    "script": "script.py",
    "arguments": {"steps": 3},
    "environment": {"path": sys.prefix},
    "resources": {"memory": "200M", "time_limit": "5"},
    "notice": 30,
}


def recipe_in(place: Path) -> str:
    folder = place / "steps"
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE))
    (folder / "script.py").write_text(SCRIPT)
    return str(folder)


@dataclass
class There:
    """The cluster, its login node, and a site of ours for it that is up."""

    cluster: LiveSite
    login: LoginNode
    site: LiveSite

    @property
    def folder(self) -> Path:
        return self.login.home / ".ai-how" / self.site.name

    @property
    def recipe(self) -> str:
        return recipe_in(self.site.folder)

    def kill_masters(self) -> int:
        """kill -9 of every connection, as when the network breaks."""
        killed = 0
        for pid in Path("/proc").glob("[0-9]*"):
            try:
                words = (pid / "cmdline").read_bytes()
            except OSError:
                continue
            if words.startswith(b"ssh") and str(self.site.root / "run").encode() in words:
                os.kill(int(pid.name), signal.SIGKILL)
                killed += 1
        return killed


def file_of(login: LoginNode | None, name: str, more: str = "") -> str:
    """A site for the cluster behind ``login``, or for one whose login node is this machine."""
    where = "host: localhost"
    if login is not None:
        where = f"host: login\n      config_file: {login.config}\n      poll_seconds: 1\n      jobs: {{partition: gpu}}"
    return f"""\
version: "1.0"
metadata: {{name: {name}}}
clusters:
  hpc:
    provider: existing
    existing:
      {where}
{more}
  cloud:
    services:
      postgresql: {{enabled: false}}
      object_store: {{enabled: false}}
      mlflow: {{enabled: false}}
"""


@pytest.fixture(scope="module")
def login(shared_site: LiveSite) -> Iterator[LoginNode]:
    """A login node of the shared site's cluster."""
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    conf = shared_site.root / "etc" / "slurm" / "slurm.conf"
    # What a site keeps for its owner alone, another account needs here: as /etc/slurm is open on any cluster.
    folders = [conf.parent.parent, conf.parent, shared_site.root / "run" / "munge"]
    folders += [shared_site.root / "data" / "slurmd", *shared_site.root.glob("data/slurmd/*")]
    modes = {folder: folder.stat().st_mode for folder in folders}
    for folder, mode in modes.items():
        folder.chmod(mode | 0o011)
    programs = [Path(found) for name in COMMANDS if (found := shutil.which(name))]
    with login_node(env={"SLURM_CONF": str(conf)}, programs=programs) as node:
        yield node
    for folder, mode in modes.items():
        folder.chmod(mode)


@pytest.fixture(scope="module")
def llama_folder(home: Path) -> Path:
    """The kept environment of llama.cpp: the nodes are this machine, so they see it."""
    return Environments(LocalGate(), Folders(home)).ensure("llama-cpp").resolve()


@pytest.fixture(scope="module")
def there(shared_site: LiveSite, login: LoginNode, home: Path, llama_folder: Path) -> Iterator[There]:
    """A site for the cluster, up; at the end nothing of it is left, here or there."""
    site = LiveSite(home, "far")
    torch = Environments(LocalGate(), Folders(home)).ensure("torch").resolve()
    environments = f"[{{name: llama-cpp, path: {llama_folder}}}, {{name: torch, path: {torch}}}]"
    site.file.write_text(file_of(login, "far", f"      environments: {environments}"))
    steps = {
        "open:supervisord",
        *(f"create:{name}" for name in ("cluster", "gateway", "tracker", "reconciler")),
    }
    try:
        assert set(site.up()) == steps
        made = There(shared_site, login, site)
        yield made
        site.run("destroy", "--yes")
        assert not site.root.exists() and not made.folder.exists()
        assert site.processes() == {} and made.kill_masters() == 0
    finally:
        site.remove()


def test_up_makes_one_folder_there_for_its_owner_alone_and_is_then_done(there: There) -> None:
    assert [entry.name for entry in there.login.home.iterdir()] == [".ai-how"]
    made = {path.name: path.stat().st_mode & 0o777 for path in (there.folder, *there.folder.iterdir())}
    assert made.pop("site.json") == 0o600 and set(made.values()) == {0o700}
    assert there.folder.stat().st_uid == there.login.home.stat().st_uid
    assert there.site.plan() == []
    status = there.site.must_be_up()
    names = [one["name"] for one in status["services"]]
    assert names == ["cluster", "gateway", "tracker", "reconciler"]
    assert len(status["nodes"]) == 4 and set(status["addresses"]) == {"gateway"}


def test_a_training_runs_there_on_two_nodes_under_the_users_own_account(there: There) -> None:
    facts = there.site.facts("train", "digits", "--set", "epochs=3", "--nodes", "2")
    assert facts["state"] == "COMPLETED" and facts["run_id"] == "" and facts["model"] is None
    assert facts["result"]["nodes"] == 2 and facts["result"]["world_size"] == 2
    assert facts["result"]["accuracy"] > 0.8
    assert facts["accounting"]["slurm.elapsed_seconds"] >= 1
    job = there.site.facts("jobs", "show", str(facts["job_id"]))
    assert (job["user"], job["partition"], job["exit_code"]) == (there.login.account, "gpu", "0:0")
    assert Path(job["work_dir"]).is_relative_to(there.folder)
    assert "epoch 2" in there.site.run("jobs", "logs", str(facts["job_id"])).stdout
    assert there.site.facts("jobs", "list")["jobs"][-1]["id"] == facts["job_id"]


def test_slurms_commands_there_are_those_of_the_shell(there: There) -> None:
    assert there.site.shell("sinfo", "--noheader", "--format=%R").split() == ["gpu", "debug"]
    assert there.site.run("shell", "--there", "--", "id", "-un").stdout.strip() == there.login.account
    script = there.site.folder / "job.sh"
    script.write_text("#!/bin/sh\necho 'a  b' \"$1\" $USER\n")
    words = "sbatch --parsable --mem=100M --partition=gpu --output=said-%j"
    job = there.site.shell("sh", "-c", f"{words} <{script}").strip()
    there.cluster.wait_for_job(int(job), "COMPLETED")
    assert (there.login.home / f"said-{job}").read_text() == f"a  b  {there.login.account}\n"
    (there.login.home / f"said-{job}").unlink()
    spaced = there.site.shell("squeue", "--states=all", "--noheader", f"--jobs={job}", "--format=%u  %T")
    assert spaced == f"{there.login.account}  COMPLETED\n"
    said = there.site.run("shell", "--", "scontrol", "show", "job", "999999", code=1)
    assert "Invalid job id" in said.stderr


def test_a_job_is_followed_cancelled_and_closed_while_the_connection_breaks(there: There) -> None:
    job = str(there.site.facts("evaluate", there.recipe, "--set", "steps=500", "--detach")["job_id"])
    until(lambda: "step 1" in there.site.run("jobs", "logs", job).stdout, "the job prints")
    assert there.kill_masters() >= 1
    there.site.run("jobs", "cancel", job)
    until(lambda: there.site.facts("jobs", "show", job)["state"] == "CANCELLED", "the job ends")
    until(lambda: there.site.facts("jobs", "show", job).get("accounting"), "the tracker closes it")
    said = there.site.run("jobs", "logs", "-f", job, code=JobFailed.exit_code)
    assert "CANCELLED" in said.stderr


def test_runs_are_brought_over_into_mlflow_while_a_job_runs_and_at_its_end(
    there: There, tmp_path: Path
) -> None:
    """In this process, so that the MLflow of the shared site can be the tracking server."""
    layout = Layout(tmp_path)
    for folder in (layout.run, layout.jobs, layout.job_logs):
        folder.mkdir(parents=True)
    tracking = Tracking(f"http://127.0.0.1:{there.cluster.ports['mlflow']}")
    existing = Existing(host="login", config_file=str(there.login.config), poll_seconds=1)
    # The connection of the site itself: the path of another one would be too long here.
    reach = Reach("far", existing, Layout(there.site.root), SystemClock(), LocalGate())
    far = Far(reach.cluster)
    jobs = Jobs(reach.slurm, layout, tracking, SystemClock(), far)
    path = Path(there.recipe) / "recipe.yaml"
    recipe = parse_recipe(json.dumps({**RECIPE, "arguments": {"steps": 14}}), "recipe.yaml")
    record = jobs.submit(RecipeFile(recipe, path), f"{sys.prefix}/bin/python", {"site": "far"})
    tracker = Tracker(jobs, reach.slurm, tracking, far)

    def steps() -> int:
        tracker.round()
        run = tracking.run(record.run_id)
        return len(tracking.history(record.run_id, "loss")) if run["status"] == "RUNNING" else -1

    until(lambda: steps() >= 3, "metrics while it runs")
    until(lambda: tracker.round() or tracking.run(record.run_id)["status"] == "FINISHED", "the run's end")
    run = tracking.run(record.run_id)
    assert tracking.history(record.run_id, "loss") == [(step, 1 / (step + 1)) for step in range(14)]
    assert len(tracking.history(record.run_id, "train/accuracy")) == 14
    assert run["params"]["colour"] == "blue" and run["params"]["uid"] == str(there.folder.stat().st_uid)
    assert {"batch.sh", "result.json", f"steps-{record.job_id}.log"} <= set(run["artifacts"])
    assert run["tags"]["slurm.state"] == "COMPLETED" and run["metrics"]["slurm.elapsed_seconds"] >= 4


def test_a_model_is_served_there_and_asked_here_while_the_connection_breaks(
    there: There, home: Path, llama_folder: Path
) -> None:
    model = write_tiny_gguf(there.site.folder / "tiny.gguf")
    served = there.site.facts("serve", str(model), "--time", "20")
    assert served["state"] == "ready" and served["replicas"][0]["phase"] == "ready"
    assert there.site.run("chat", "tiny", "hello").stdout.strip()
    (replica,) = there.site.facts("ps")["replicas"]
    job = there.site.facts("jobs", "show", str(replica["job_id"]))
    assert job["user"] == there.login.account and job["state"] == "RUNNING"

    assert there.kill_masters() >= 1

    def answers() -> bool:
        return bool(there.site.start("chat", "tiny", "hello again").communicate(timeout=60)[0].strip())

    until(answers, "the tunnel is made anew", 60)
    there.site.run("stop", "tiny", "--now")
    until(lambda: there.site.facts("ps")["replicas"] == [], "no replica is left")
    until(
        lambda: there.site.facts("jobs", "show", str(replica["job_id"]))["state"] != "RUNNING", "its job ends"
    )
    assert list((there.folder / "endpoints").iterdir()) == []


def test_what_slurm_would_not_take_is_said_before_a_job_is_submitted(there: There) -> None:
    text = there.site.file.read_text()
    there.site.file.write_text(text.replace("partition: gpu", "partition: gpus"))
    try:
        said = there.site.run("plan").stderr
        assert "there is no partition 'gpus'" in said and "Did you mean 'gpu'?" in said
    finally:
        there.site.file.write_text(text)


def test_a_cluster_that_cannot_be_reached_changes_nothing_and_says_why(there: There) -> None:
    text, config = there.site.file.read_text(), there.site.folder / "config"
    config.write_text(there.login.config.read_text().replace(f"Port {there.login.port}", "Port 9"))
    there.site.file.write_text(text.replace(str(there.login.config), str(config)))
    try:
        for words in (("plan",), ("up",)):
            said = there.site.run(*words, code=CouldNotTell.exit_code)
            assert "login cannot be reached" in said.stderr and "nothing listens there" in said.stderr
    finally:
        there.site.file.write_text(text)
    assert there.site.plan() == []


def test_another_site_cannot_take_the_folder(there: There, home: Path) -> None:
    other = LiveSite(home, "second")
    try:
        other.file.write_text(file_of(there.login, "second", "      folder: ~/.ai-how/far"))
        said = other.run("up", code=6)
        assert "belongs to another site, 'far'" in said.stderr and there.folder.is_dir()
        began = time.monotonic()
        other.run("down")
        assert time.monotonic() - began < 60
    finally:
        other.remove()


def test_on_a_login_node_itself_there_is_no_ssh(shared_site: LiveSite, home: Path, tmp_path: Path) -> None:
    """The same account as the cluster's own here, as it has no other; its jobs see this machine's folders."""
    site = LiveSite(home, "here")
    conf, folder = shared_site.root / "etc" / "slurm" / "slurm.conf", home / "there"
    more = f"      slurm_conf: {conf}\n      folder: {folder}\n      poll_seconds: 1\n      jobs: {{partition: gpu}}"
    text = file_of(None, "here", more)
    site.file.write_text(text)
    try:
        site.up()
        recipe = recipe_in(site.folder)
        facts = site.facts("evaluate", recipe)
        assert facts["state"] == "COMPLETED" and facts["result"]["steps"] == 3
        assert not list((site.root / "run").glob("ssh-*"))
        assert site.shell("sinfo", "--noheader", "--format=%R").split() == ["gpu", "debug"]
        job = site.facts("evaluate", recipe, "--set", "steps=500", "--detach")["job_id"]
        site.run("destroy", "--yes")
        shared_site.wait_for_job(job, "CANCELLED")
        assert not folder.exists() and not site.root.exists()
    finally:
        site.remove()
