"""OpenAI's own client, the gateway's process and the real engine: nothing here is ours but what is tested."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import openai
import pytest
from door import Door

from ai_how.run import wait_until

#: How the gateway writes down that a client went away.
LEFT = '"status": 499'
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def client(door: Door) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{door.url}/v1",
        api_key=door.token,
        max_retries=0,
        http_client=httpx.Client(trust_env=False),
    )


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").created > 0


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


def test_a_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="hi", max_tokens=3)
    assert answer.usage is not None and answer.usage.completion_tokens == 3
    pieces = list(client.completions.create(model="tiny", prompt="hi", max_tokens=3, stream=True))
    assert pieces[-1].choices[0].finish_reason == "length"


def test_vectors(client: openai.OpenAI) -> None:
    """The client asks for base64 by itself, and takes it apart."""
    one, two, again = (client.embeddings.create(model="tiny", input=["hi", "you", "hi"])).data
    assert len(one.embedding) == 32
    assert one.embedding == pytest.approx(again.embedding, abs=1e-4) and one.embedding != two.embedding


def test_a_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="tiny", input="hi", max_output_tokens=3)
    assert answer.usage is not None and answer.usage.output_tokens == 3


def test_a_response_that_streams(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="tiny", input="hi", max_output_tokens=3, stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_the_asynchronous_client(door: Door) -> None:
    async def ask() -> int:
        http = httpx.AsyncClient(trust_env=False)
        async with openai.AsyncOpenAI(
            base_url=f"{door.url}/v1", api_key=door.token, max_retries=0, http_client=http
        ) as client:
            stream = await client.chat.completions.create(
                model="tiny",
                messages=MESSAGES,  # type: ignore[arg-type]
                max_tokens=4,
                stream=True,
            )
            return len([chunk async for chunk in stream])

    assert asyncio.run(ask()) > 1


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


def test_a_long_stream_that_is_left_frees_the_engine(client: openai.OpenAI, door: Door) -> None:
    """The one slot is free again at once, so the next answer need not wait for the rest of the left one."""
    before = door.log.read_text().count(LEFT)
    with client.chat.completions.create(
        model="tiny",
        messages=MESSAGES,  # type: ignore[arg-type]
        max_tokens=100_000,
        stream=True,
        extra_body={"ignore_eos": True},
    ) as stream:
        next(iter(stream))
    answer = client.with_options(timeout=60).chat.completions.create(
        model="tiny",
        messages=MESSAGES,  # type: ignore[arg-type]
        max_tokens=1,
    )
    assert answer.choices[0].finish_reason == "length"
    # Other tests share the gateway, and leave it in the same way.
    wait_until(lambda: door.log.read_text().count(LEFT) > before, what="the gateway noticing", timeout=60)


def test_no_secret_in_any_argument_list(client: openai.OpenAI, door: Door) -> None:
    secret = next((door.site / "endpoints").glob("*.secret")).read_text()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        if entry.parent.name != str(os.getpid()):
            try:
                words = entry.read_text(errors="replace")
            except OSError:
                continue  # that process has ended meanwhile
            assert secret not in words and client.api_key not in words
