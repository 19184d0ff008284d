"""OpenAI's own client, the gateway's process and the real engine: nothing here is ours but what is tested."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from launched import Running, start
from tiny_gguf import write_tiny_gguf

from ai_how.security import create_token
from ai_how.serving.engines import LlamaCpp
from ai_how.serving.gateway.control import bind

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def replica(llama_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    site = tmp_path_factory.mktemp("site")
    running = start(LlamaCpp(), llama_python, write_tiny_gguf(site / "tiny.gguf"), site)
    running.record()
    yield running
    running.end()


@pytest.fixture(scope="module")
def client(replica: Running) -> Iterator[openai.OpenAI]:
    token = create_token(replica.site / "tokens.json", "admin")
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    config = {
        "port": port,
        "endpoints": str(replica.site / "endpoints"),
        "token_digests": str(replica.site / "tokens.json"),
    }
    path = replica.site / "gateway.json"
    path.write_text(json.dumps(config))
    with (replica.site / "gateway.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ai_how.serving.gateway", "--config", str(path)], stderr=log
        )
    wait_healthy(process, port)
    yield openai.OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1",
        api_key=token,
        max_retries=0,
        http_client=httpx.Client(trust_env=False),
    )
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)


def wait_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_an_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=4)  # type: ignore[arg-type]
    assert answer.usage is not None and answer.usage.completion_tokens == 4
    assert answer.choices[0].finish_reason == "length"


def test_a_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=4, stream=True)  # type: ignore[arg-type]
    )
    assert chunks[-1].choices[0].finish_reason == "length"
    assert {chunk.model for chunk in chunks} == {"tiny"}


def test_a_field_of_the_engines_own_reaches_it(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,  # type: ignore[arg-type]
        max_tokens=3,
        extra_body={"grammar": 'root ::= "yes"'},
    )
    assert answer.choices[0].message.content == "yes"


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean 'tiny'") as caught:
        client.chat.completions.create(model="tinny", messages=MESSAGES)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_wrong_token(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="aihow_wrong").models.list()


def test_a_long_stream_that_is_left_frees_the_engine(client: openai.OpenAI, replica: Running) -> None:
    """The one slot is free again at once, so the next answer need not wait for the rest of the left one."""
    with client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,  # type: ignore[arg-type]
        max_tokens=100_000,
        stream=True,
        extra_body={"ignore_eos": True},
    ) as stream:
        next(iter(stream))
    answer = client.with_options(timeout=20).chat.completions.create(
        model="tiny",
        messages=MESSAGES,  # type: ignore[arg-type]
        max_tokens=1,
    )
    assert answer.choices[0].finish_reason == "length"
    assert "status=499" in wait_for_line(replica.site / "gateway.log", "status=499")


def wait_for_line(log: Path, words: str) -> str:
    deadline = time.monotonic() + 10
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    return log.read_text()


def test_no_secret_in_any_argument_list(client: openai.OpenAI, replica: Running) -> None:
    secret = next((replica.site / "endpoints").glob("*.secret")).read_text()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        if entry.parent.name != str(os.getpid()):
            try:
                words = entry.read_text(errors="replace")
            except OSError:
                continue  # that process has ended meanwhile
            assert secret not in words and client.api_key not in words
