"""A fine-tuning that is told before its time limit: saved, requeued, resumed, and one run all the time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from live_site import LiveSite, until

from ai_how.client.tracking import Tracking
from ai_how.jobs.control import SHIPPED

#: Steps of an epoch over the questions about a site of four nodes.
EPOCH = 21


def impatient_recipe(site: LiveSite) -> Path:
    """The shipped recipe with a minute of time, of which Slurm keeps the last three quarters for the notice."""
    folder = site.folder / "impatient"
    shutil.copytree(SHIPPED / "site-facts", folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "recipe.yaml").read_text()
    for old, new in (("site-facts", "impatient"), ('"00:20:00"', '"1"'), ("notice: 60", "notice: 45")):
        assert old in text
        text = text.replace(old, new)
    (folder / "recipe.yaml").write_text(text)
    return folder


@pytest.mark.timeout(300)
def test_a_fine_tuning_that_was_told_goes_on_where_it_was(site: LiveSite) -> None:
    tracking = Tracking(f"http://127.0.0.1:{site.ports['mlflow']}")
    # Small, and far too long for its time limit.
    asked = ("--set", "hidden=64", "--set", "layers=1", "--set", "min-steps=50000")
    job = site.facts("finetune", str(impatient_recipe(site)), "--detach", *asked)
    job_id, run_id = job["job_id"], job["run_id"]
    until(lambda: site.job(job_id)["Restarts"] == "1", "Slurm has put the job back into its queue", 120)
    folder = Path(site.facts("jobs", "show", str(job_id))["folder"])
    # One was saved when it was told; a quick machine has come by the recipe's regular ones before.
    step = max(int(path.name.split("-")[1]) for path in (folder / "checkpoint" / "oumi").glob("checkpoint-*"))
    assert tracking.run(run_id)["status"] == "RUNNING"
    # The second life is to end well: some epochs more, time for them, and no waiting for credentials to expire.
    config = folder / "output" / "prepared" / "config.yaml"
    facts = yaml.safe_load(config.read_text())
    facts["training"]["num_train_epochs"] = step // EPOCH + 8
    config.write_text(yaml.safe_dump(facts))
    site.shell("scontrol", "update", f"JobId={job_id}", "TimeLimit=10", "StartTime=now")
    until(lambda: tracking.run(run_id)["status"] != "RUNNING", "the run has ended", 120)

    run = tracking.run(run_id)
    assert run["status"] == "FINISHED" and run["metrics"]["slurm.restarts"] == 1
    result = json.loads((folder / "output" / "result.json").read_text())
    steps = [entry["step"] for entry in result["history"]]
    # Every step once, in both lives together: what the first had logged is in the second's checkpoint.
    assert steps == [1, *range(5, result["steps"] + 1, 5)] and 1 <= step < result["steps"]
    assert [at for at, _ in tracking.history(run_id, "loss")] == steps
    assert result["loss_last"] < result["loss_first"] / 5
    log = site.run("jobs", "logs", str(job_id)).stdout
    assert log.count("Oumi is ready") == 2 and log.count(f"'loss': '{result['loss_first']:.4g}'") == 1
    shown = site.facts("jobs", "show", str(job_id))
    assert shown["state"] == "COMPLETED" and shown["model"] == "impatient:1"
