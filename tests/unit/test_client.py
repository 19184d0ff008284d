"""The client, with a gateway that answers from a function."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

import ai_how
from ai_how.client import SiteClient
from ai_how.errors import AiHowError, CouldNotTell, NotFound
from ai_how.wire import ErrorBody, ErrorEnvelope

MESSAGES = [{"role": "user", "content": "hi"}]


def client(answer: Callable[[httpx.Request], httpx.Response]) -> SiteClient:
    return SiteClient("http://127.0.0.1:8080/", "aihow_token", transport=httpx.MockTransport(answer))


def refused(status: int, code: str, message: str = "no") -> Callable[[httpx.Request], httpx.Response]:
    envelope = ErrorEnvelope(error=ErrorBody(message=message, type="t", code=code))
    return lambda request: httpx.Response(status, content=envelope.model_dump_json())


def test_the_package_stays_light_until_somebody_connects() -> None:
    """Jobs and `--help` import the package, too."""
    heavy = "{'httpx', 'pydantic', 'mlflow', 'rich', 'ai_how.site', 'ai_how.client'}"
    program = f"import sys, ai_how; assert 'connect' in dir(ai_how); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        ai_how.conect  # noqa: B018


def test_it_lists_models_with_its_token() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer aihow_token"
        assert str(request.url) == "http://127.0.0.1:8080/v1/models"
        return httpx.Response(200, json={"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    with client(answer) as site:
        assert [card.id for card in site.models().data] == ["tiny"]


def test_it_asks_and_passes_options_on() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        assert body == {"model": "tiny", "messages": MESSAGES, "stream": False, "temperature": 0}
        choice = {"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
        return httpx.Response(200, json={"model": "tiny", "choices": [choice], "timings": {}})

    said = client(answer).chat("tiny", MESSAGES, temperature=0)
    assert (said.text, said.model, said.finish_reason) == ("hello", "tiny", "stop")
    assert "timings" in said.raw


def test_it_streams_piece_by_piece() -> None:
    events = [
        {"choices": [{"delta": delta}]}
        for delta in ({"role": "assistant"}, {"content": "a"}, {"content": "b"})
    ]
    lines = [json.dumps(event) for event in events] + ["[DONE]"]
    text = "".join(f"data: {line}\n\n" for line in [*lines[:2], *lines[2:]])
    site = client(lambda request: httpx.Response(200, content=": a comment\n\n" + text))
    assert list(site.chat("tiny", MESSAGES, stream=True)) == ["a", "b"]


def test_a_stream_that_breaks_off_is_an_error() -> None:
    envelope = ErrorEnvelope(error=ErrorBody(message="The engine broke off.", type="t", source="engine"))
    text = f'data: {{"choices":[{{"delta":{{"content":"a"}}}}]}}\n\ndata: {envelope.model_dump_json()}\n\n'
    pieces = client(lambda request: httpx.Response(200, content=text)).chat("tiny", MESSAGES, stream=True)
    assert next(pieces) == "a"
    with pytest.raises(AiHowError, match="the engine refused: The engine broke off"):
        next(pieces)


def test_a_model_that_does_not_exist() -> None:
    with pytest.raises(NotFound, match="Did you mean") as caught:
        client(refused(404, "model_not_found", "Did you mean 'tiny'?")).chat("tinny", MESSAGES)
    assert "ai-how ps" in (caught.value.todo or "")


@pytest.mark.parametrize(
    ("status", "code", "todo"),
    [
        (401, "invalid_api_key", "token create"),
        (403, "model_not_allowed", "token list"),
        (503, "no_ready_replica", "ps"),
        (502, "replica_unreachable", "ps"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, code: str, todo: str) -> None:
    for stream in (False, True):
        with pytest.raises(AiHowError) as caught:
            answer = client(refused(status, code)).chat("tiny", MESSAGES, stream=stream)  # type: ignore[call-overload]
            list(answer)
        assert todo in caught.value.todo


def test_a_refusal_without_an_explanation() -> None:
    with pytest.raises(AiHowError, match="status 418"):
        client(lambda request: httpx.Response(418, content=b"<html>")).models()


def test_a_gateway_that_does_not_answer() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    site = client(answer)
    assert not site.healthy()
    with pytest.raises(CouldNotTell, match="does not answer") as caught:
        site.models()
    assert "aihow_token" not in str(caught.value.as_json())
    with pytest.raises(CouldNotTell):
        list(site.chat("tiny", MESSAGES, stream=True))
