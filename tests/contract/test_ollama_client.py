"""Ollama's own client against the gateway: an engine behind it speaks OpenAI's API, and nobody can tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from door import Door, opened
from doubles import FakeEngine
from launched import start
from tiny_gguf import write_tiny_gguf

from ai_how.serving.engines import Place

FEW: Any = {"num_predict": 4, "temperature": 0}
SAID: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def fake_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    site = tmp_path_factory.mktemp("fake")
    running = start(
        FakeEngine(), Place.of_python(Path(sys.executable)), write_tiny_gguf(site / "tiny.gguf"), site
    )
    running.record()
    with opened(site) as door:
        yield door
    running.end()


@pytest.fixture(scope="module", params=["door", "fake_door"])
def client(request: pytest.FixtureRequest) -> ollama.Client:
    """The client as its users make it; ``OLLAMA_API_KEY`` in the environment does what the header does here."""
    found: Door = request.getfixturevalue(request.param)
    return ollama.Client(found.url, headers={"authorization": f"Bearer {found.token}"}, trust_env=False)


def test_list_and_ps(client: ollama.Client) -> None:
    assert [one.model for one in client.list().models] == ["tiny"]
    assert [one.model for one in client.ps().models] == ["tiny"]


@pytest.mark.parametrize("name", ["tiny", "tiny:latest"])
def test_show(client: ollama.Client, name: str) -> None:
    shown = client.show(name)
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo is not None and shown.modelinfo["ai_how.context_length"] == 512


def test_chat(client: ollama.Client) -> None:
    answer = client.chat("tiny", SAID, options=FEW, keep_alive="5m")
    assert answer.message.role == "assistant" and answer.message.content
    assert (answer.done, answer.done_reason, answer.eval_count) == (True, "length", 4)
    assert answer.total_duration and answer.prompt_eval_count and answer.created_at


def test_chat_that_streams(client: ollama.Client) -> None:
    *pieces, last = client.chat("tiny:latest", SAID, options=FEW, stream=True)
    assert len(pieces) > 1 and all(piece.message.content and not piece.done for piece in pieces)
    assert (last.done, last.done_reason, last.eval_count, last.model) == (True, "length", 4, "tiny:latest")


def test_generate(client: ollama.Client) -> None:
    whole = client.generate("tiny", "hi", system="be brief", options=FEW)
    assert whole.response and whole.done_reason == "length"
    *pieces, last = client.generate("tiny", "hi", options=FEW, stream=True)
    assert "".join(piece.response for piece in pieces) and last.done


def test_generate_without_a_template(client: ollama.Client) -> None:
    whole = client.generate("tiny", "hi", raw=True, options={"num_predict": 3})
    assert (whole.done_reason, whole.eval_count, whole.prompt_eval_count) == ("length", 3, 2)
    *_, last = client.generate("tiny", "hi", raw=True, options={"num_predict": 3}, stream=True)
    assert last.eval_count == 3


def test_asking_for_nothing_loads_the_model(client: ollama.Client) -> None:
    assert client.generate("tiny").done_reason == "load"
    assert client.chat("tiny").done_reason == "load"


def test_a_model_that_is_served_need_not_be_pulled(client: ollama.Client) -> None:
    assert client.pull("tiny").status == "success"
    assert [one.status for one in client.pull("tiny", stream=True)] == ["success"]
    with pytest.raises(ollama.ResponseError, match="does not exist"):
        client.pull("llama3")


def test_embed(client: ollama.Client) -> None:
    both = client.embed("tiny", ["hi", "you"])
    assert [len(vector) for vector in both.embeddings] == [32, 32] and both.prompt_eval_count
    assert len(client.embeddings("tiny", "hi").embedding) == 32


def test_a_model_that_is_not_served(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="Did you mean 'tiny'") as caught:
        client.chat("tinny", SAID)
    assert caught.value.status_code == 404


def test_what_cannot_be_passed_on_is_refused_by_name(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="suffix") as caught:
        client.generate("tiny", "def f(", suffix="return")
    assert caught.value.status_code == 400


def test_a_wrong_token(fake_door: Door) -> None:
    stranger = ollama.Client(fake_door.url, headers={"authorization": "Bearer aihow_wrong"}, trust_env=False)
    with pytest.raises(ollama.ResponseError, match="not valid") as caught:
        stranger.list()
    assert caught.value.status_code == 401


def test_a_schema_binds_the_real_engine(door: Door) -> None:
    client = ollama.Client(door.url, headers={"authorization": f"Bearer {door.token}"}, trust_env=False)
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    answer = client.chat("tiny", SAID, format=schema, options={"num_predict": 60})
    assert set(json.loads(answer.message.content or "")) == {"yes"}


def test_content_types_are_ollamas(fake_door: Door) -> None:
    headers = {"authorization": f"Bearer {fake_door.token}"}
    for path, stream, kind in (
        ("chat", True, "application/x-ndjson"), ("chat", False, "application/json"),
        ("generate", True, "application/x-ndjson"), ("embed", None, "application/json"),
    ):  # fmt: skip
        body = {"model": "tiny", "messages": SAID, "prompt": "", "input": "hi", "stream": stream}
        answer = httpx.post(f"{fake_door.url}/api/{path}", headers=headers, json=body, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


def test_the_version(fake_door: Door) -> None:
    headers = {"authorization": f"Bearer {fake_door.token}"}
    answer = httpx.get(f"{fake_door.url}/api/version", headers=headers, trust_env=False)
    assert set(answer.json()) == {"version"}
