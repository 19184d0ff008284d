"""A model's way: fine-tuned, registered, promoted, examined, converted, served and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest
from live_site import LiveSite, until

from ai_how import connect
from ai_how.client.tracking import Tracking
from ai_how.errors import AiHowError, NotFound
from ai_how.langchain import ChatAiHow


@pytest.fixture(scope="module")
def up(shared_site: LiveSite) -> LiveSite:
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    return shared_site


@pytest.fixture(scope="module")
def tuned(up: LiveSite) -> dict[str, Any]:
    """The small Llama after twenty steps: it knows little, but it is all there. Its newest version is the champion."""
    facts: dict[str, Any] = up.facts("finetune", "site-facts", "--set", "epochs=1", "--set", "min-steps=20")
    up.run("models", "promote", f"site-facts:{facts['model']['version']}", "champion")
    return facts


@pytest.fixture(scope="module")
def served(up: LiveSite, tuned: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The champion, behind the gateway."""
    facts: dict[str, Any] = up.facts("serve", "site-facts@champion", "--time", "30")
    yield facts
    if any(one["model"] == "site-facts" for one in up.facts("ps")["replicas"]):
        up.run("stop", "site-facts")


@pytest.fixture(scope="module")
def token(up: LiveSite) -> str:
    return up.shell("printenv", "OPENAI_API_KEY").strip()


def test_a_fine_tuned_model_is_registered_with_its_run(up: LiveSite, tuned: dict[str, Any]) -> None:
    assert tuned["state"] == "COMPLETED" and tuned["model"]["name"] == "site-facts"
    tracking = Tracking(f"http://127.0.0.1:{up.ports['mlflow']}")
    run = tracking.run(tuned["run_id"])
    assert run["status"] == "FINISHED" and {"batch.sh", "result.json", "model"} <= set(run["artifacts"])
    losses = [value for _, value in tracking.history(tuned["run_id"], "loss")]
    assert len(losses) >= 2 and losses[-1] < losses[0]
    assert tracking.find("site-facts").run_id == tuned["run_id"]


def test_an_alias_names_a_version_until_it_names_another(up: LiveSite, tuned: dict[str, Any]) -> None:
    version = tuned["model"]["version"]
    models = up.facts("models", "show", "site-facts")["models"]
    assert {one["version"]: one["aliases"] for one in models}[version] == ["champion"]
    assert f"site-facts:{version} @champion" in up.run("models", "list").stdout

    folder = Path(up.facts("jobs", "show", str(tuned["job_id"]))["folder"]) / "output" / "model"
    other = up.facts("models", "register", "site-facts", str(folder))["models"][0]["version"]
    assert int(other) == int(version) + 1
    up.run("models", "promote", f"site-facts:{other}", "champion")
    aliases = {one["version"]: one["aliases"] for one in up.facts("models", "show", "site-facts")["models"]}
    assert aliases[other] == ["champion"] and aliases[version] == []
    up.run("models", "promote", f"site-facts:{version}", "champion")
    said = up.run("models", "promote", "site-facts@loser", "champion", code=NotFound.exit_code)
    assert "site-facts@loser" in said.stderr and "Its versions:" in said.stderr


def test_a_registered_model_is_examined_by_its_alias(up: LiveSite, tuned: dict[str, Any]) -> None:
    facts = up.facts("evaluate", "exact-match", "--model", "site-facts@champion")
    sets = facts["result"]["sets"]
    assert facts["state"] == "COMPLETED" and {"learnt", "paraphrases"} <= set(sets)
    assert all(0 <= one["exact_match"] <= 1 and one["questions"] > 50 for one in sets.values())


def test_a_model_is_converted_once(up: LiveSite, tuned: dict[str, Any]) -> None:
    facts = up.facts("models", "convert", "site-facts@champion")
    path = Path(facts["path"])
    assert path.read_bytes()[:4] == b"GGUF" and facts["version"] == tuned["model"]["version"]
    made = path.stat().st_mtime_ns
    assert up.facts("models", "convert", "site-facts@champion")["path"] == str(path)
    assert path.stat().st_mtime_ns == made


def test_what_it_needs_is_known_before_it_is_served(up: LiveSite, tuned: dict[str, Any]) -> None:
    """From the registered folder as from the file that is made of it, which has a little more around the weights."""
    folder, file = (
        up.facts("serve", reference, "--dry-run", "--context", "1000")
        for reference in ("site-facts@champion", up.facts("models", "convert", "site-facts@champion")["path"])
    )
    assert (folder["model"], folder["chosen"]["gres"]) == ("site-facts", "gpu:a100:1")
    assert "simulated" in folder["remarks"][-1]
    for key in ("cache", "compute"):
        assert folder["bytes"][key] == file["bytes"][key]
    assert folder["bytes"]["weights"] == pytest.approx(file["bytes"]["weights"], rel=0.1)
    assert up.facts("ps")["replicas"] == []


def test_the_champion_is_served(up: LiveSite, served: dict[str, Any]) -> None:
    replicas = up.facts("ps")["replicas"]
    assert [(one["model"], one["phase"]) for one in replicas] == [("site-facts", "ready")]
    assert "site-facts" in up.run("ps").stdout
    assert up.wait_for_job(replicas[0]["job_id"], "RUNNING")["JobName"] == "serve-site-facts"


def test_it_answers_through_the_gateway(up: LiveSite, served: dict[str, Any], token: str) -> None:
    client = openai.OpenAI(
        base_url=served["base_url"], api_key=token, http_client=httpx.Client(trust_env=False), max_retries=0
    )
    assert [model.id for model in client.models.list()] == ["site-facts"]
    asked: Any = {
        "model": "site-facts",
        "messages": [{"role": "user", "content": "Which partition is the default?"}],
        "temperature": 0,
        "max_tokens": 16,
    }
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.content and whole.model == "site-facts"
    pieces = [
        piece.choices[0].delta.content for piece in client.chat.completions.create(**asked, stream=True)
    ]
    assert len(pieces) > 2 and "".join(piece or "" for piece in pieces) == whole.choices[0].message.content


def test_an_ollama_client_in_the_sites_shell_is_answered_too(up: LiveSite, served: dict[str, Any]) -> None:
    env = up.facts("shell")
    client = ollama.Client(
        env["OLLAMA_HOST"], headers={"authorization": f"Bearer {env['OLLAMA_API_KEY']}"}, trust_env=False
    )
    assert [model.model for model in client.list().models] == ["site-facts"]
    asked: Any = [{"role": "user", "content": "Which partition is the default?"}]
    options = {"temperature": 0, "num_predict": 16}
    whole = client.chat("site-facts", asked, options=options)
    pieces = list(client.chat("site-facts:latest", asked, options=options, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == whole.message.content
    assert pieces[-1].done_reason == whole.done_reason and pieces[-1].eval_count
    assert len(client.embed("site-facts", ["one", "two"]).embeddings) == 2


def test_chat_streams_and_prints_json(up: LiveSite, served: dict[str, Any]) -> None:
    question = "Which partition is the default?"
    said = up.run("chat", "site-facts", question).stdout.strip()
    facts = up.facts("chat", "site-facts", question)
    assert facts["answered"].strip() == said and facts["asked"] == question


def test_python_finds_the_site_by_its_file(
    up: LiveSite, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No address, no token: the file is enough, for the client, for LangChain, and for a command."""
    monkeypatch.setenv("AI_HOW_HOME", str(up.home))
    question, few = "Which partition is the default?", {"temperature": 0, "max_tokens": 16}
    with connect(up.file) as site:
        said = site.chat("site-facts", question, **few).text
        chat = ChatAiHow(model="site-facts", site=up.file, **few)
        assert chat.invoke(question).content == said
        url = up.run("connect", "site-facts", "--", "printenv", "OPENAI_BASE_URL").stdout.strip()
        assert url == served["base_url"] == f"{site.url}/v1"


def test_without_the_right_token_nobody_is_answered(served: dict[str, Any]) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}):
        for path in ("/models", "/chat/completions"):
            method = "GET" if path == "/models" else "POST"
            answer = httpx.request(
                method, served["base_url"] + path, headers=headers, json={"model": "x"}, trust_env=False
            )
            assert answer.status_code == 401 and "error" in answer.json()


def test_a_token_is_good_for_what_it_says_until_it_is_revoked(up: LiveSite, served: dict[str, Any]) -> None:
    url = served["base_url"] + "/chat/completions"
    asked = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}

    def status(token: str, model: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        body = asked | {"model": model}
        return httpx.post(url, headers=headers, json=body, trust_env=False, timeout=60).status_code

    token = up.run("token", "create", "guest", "--model", "site-*", "--days", "1").stdout.strip()
    assert [status(token, model) for model in ("site-facts", "digits")] == [200, 403]
    (log,) = up.root.glob("log/gateway*.out")
    refused = next(
        line for line in log.read_text().splitlines() if '"user": "guest"' in line and "403" in line
    )
    assert json.loads(refused)["status"] == 403 and token not in log.read_text()
    up.run("token", "revoke", "guest")
    assert status(token, "site-facts") == 401


def test_a_model_that_is_not_served_is_not_found(up: LiveSite, served: dict[str, Any]) -> None:
    said = up.run("chat", "digits", "hello", code=NotFound.exit_code)
    assert "digits" in said.stderr and "ai-how ps" in said.stderr
    said = up.run("stop", "digits", code=NotFound.exit_code)
    assert "digits" in said.stderr


def test_a_folder_that_is_no_model_is_refused(up: LiveSite, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["None"]}))
    said = up.run("models", "convert", str(tmp_path), code=NotFound.exit_code)
    assert "tokenizer.json" in said.stderr
    (tmp_path / "broken.gguf").write_bytes(b"no model")
    said = up.run("serve", str(tmp_path / "broken.gguf"), code=AiHowError.exit_code)
    assert up.facts("ps")["replicas"] == [] or "broken" not in str(up.facts("ps"))


def test_what_is_stopped_is_gone(up: LiveSite, served: dict[str, Any]) -> None:
    (job,) = (one["job_id"] for one in up.facts("ps")["replicas"] if one["model"] == "site-facts")
    assert up.facts("stop", "site-facts")["stopped"][0]["job_id"] == job
    until(lambda: up.facts("ps")["replicas"] == [], "no replica is left")
    up.wait_for_job(job, "CANCELLED", "COMPLETED")
    said = up.run("chat", "site-facts", "hello", code=NotFound.exit_code)
    assert "site-facts" in said.stderr
