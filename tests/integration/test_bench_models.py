"""Served models measured on a real site: deployed as Slurm jobs by the recipe itself, or there already."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_site import LiveSite
from tiny_gguf import write_tiny_gguf

HEAD = 'version: "1.0"\nkind: bench\nname: models\nrepetitions: 1\n'
LOAD = "load: {arrivals: constant, rate: 10, seconds: 0.5}\n"
OWN = HEAD + "target: {{api: openai, model: own, deploy: {{source: {model}, context: 512}}}}\n"
PROMPTS = "workload: {prompts: {words: 4, max_tokens: 4}}\n"


@pytest.fixture(scope="module")
def up(shared_site: LiveSite) -> LiveSite:
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    return shared_site


@pytest.fixture(scope="module")
def served(up: LiveSite) -> Iterator[str]:
    """A small model that is there already."""
    model = write_tiny_gguf(up.folder / "measured.gguf")
    up.run("serve", str(model), "--context", "512", "--time", "30")
    yield "measured"
    up.run("stop", "measured", "--now")


def measured(site: LiveSite, text: str, folder: Path) -> Any:
    recipe, out = folder / "recipe.yaml", folder / "result.json"
    recipe.write_text(text)
    facts = site.facts("bench", "run", str(recipe), "--out", str(out), "--no-track")
    (run,) = facts["runs"]
    assert facts["partial"] is None and run["good"] == run["sent"] > 0 and not run["errors"]
    return facts


def names(site: LiveSite) -> set[str]:
    shown = site.facts("ps")
    return {one["model"] for one in (*shown["models"], *shown["replicas"])}


@pytest.mark.parametrize(
    ("api", "workload", "figure"),
    [
        ("ollama", "{prompts: {words: 4, max_tokens: 4}}", "first_token.p50"),
        ("embeddings", "{texts: {words: 4, batch: 2}}", "texts"),
        ("chain", "{chain: {documents: 4, words: 4, k: 1, max_tokens: 4}}", "first_answer_token.p50"),
    ],
)
def test_what_is_there_already_is_measured_through_the_gateway(
    api: str, workload: str, figure: str, up: LiveSite, served: str, tmp_path: Path
) -> None:
    text = f"{HEAD}target: {{api: {api}, model: {served}}}\nworkload: {workload}\n{LOAD}"
    facts = measured(up, text, tmp_path)
    assert figure in {one["name"] for one in facts["figures"]}
    assert "deployed" not in facts["service"]["service"] and served in names(up)


def test_a_service_of_its_own_comes_up_as_a_job_and_goes(up: LiveSite, tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    facts = measured(up, OWN.format(model=model) + PROMPTS + LOAD, tmp_path)
    assert "first_token.p50" in {one["name"] for one in facts["figures"]}
    deployed = facts["service"]["service"]["deployed"]
    (job_id,) = deployed["jobs"]
    job = up.job(job_id)
    assert job["JobName"] == "serve-own" and deployed["nodes"] == [job["NodeList"]]
    assert job["JobState"] not in ("PENDING", "RUNNING") and "own" not in names(up)


def test_ctrl_c_takes_it_down_too(up: LiveSite, tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(OWN.format(model=model) + PROMPTS + LOAD.replace("seconds: 0.5", "seconds: 600"))
    with up.start("bench", "run", str(recipe), "--no-track") as process:
        assert process.stderr is not None
        while "is asked for" not in (line := process.stderr.readline()):
            assert line, "it ended before its service was asked for"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode in (10, 130) and "Traceback" not in said, said
    assert "own is taken down again" in said and "own" not in names(up)


def test_a_model_that_no_engine_loads_leaves_nothing_served(up: LiveSite, tmp_path: Path) -> None:
    model = tmp_path / "rubbish.gguf"
    model.write_bytes(write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()[:60_000])
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "result.json"
    recipe.write_text(OWN.format(model=model) + PROMPTS + LOAD)
    with up.start("bench", "run", str(recipe), "--out", str(out), "--no-track") as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode not in (0, 1) and "own" in said and "Traceback" not in said, said
    assert not out.exists() and "own" not in names(up)


def test_what_somebody_else_serves_is_not_taken_for_its_own(
    up: LiveSite, served: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    text = OWN.format(model=up.folder / "measured.gguf").replace("model: own", f"model: {served}")
    recipe.write_text(text + PROMPTS + LOAD)
    said = up.run("bench", "run", str(recipe), "--no-track", code=2).stderr
    assert "is served already" in said and json.loads(up.run("ps", "--json").stdout)["replicas"]
