"""When the client asks again, and when it gives up; conversations; both clients, with a gateway from a function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from ai_how.client import (
    AsyncSiteClient,
    NoAnswer,
    Patience,
    Piece,
    Refused,
    SiteClient,
    ToolCall,
    ToolCallPart,
    Usage,
    plan,
)
from ai_how.errors import AiHowError, CouldNotTell, NotFound, TimedOut
from ai_how.wire import ErrorBody, ErrorEnvelope

Answers = Callable[[httpx.Request], httpx.Response]
CALL = {"id": "a1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@dataclass
class Time:
    """A clock that sleeping moves."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def refused(status: int, code: str, retry_after: str | None = None) -> httpx.Response:
    body = ErrorEnvelope(error=ErrorBody(message="It wakes.", type="t", code=code, source="scheduler"))
    headers = {"retry-after": retry_after} if retry_after else {}
    return httpx.Response(status, content=body.model_dump_json(), headers={**headers, "x-request-id": "r1"})


def said(text: str) -> httpx.Response:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return httpx.Response(200, json={"model": "tiny", "choices": [choice]})


def events(*deltas: dict[str, object], done: bool = True) -> httpx.Response:
    lines = [json.dumps({"choices": [{"delta": delta}]}) for delta in deltas] + ["[DONE]"] * done
    return httpx.Response(200, content="".join(f"data: {line}\n\n" for line in lines))


def scripted(*answers: httpx.Response | Exception) -> tuple[Answers, list[httpx.Request]]:
    """A gateway that gives these answers one after the other."""
    left: Iterator[httpx.Response | Exception] = iter(answers)
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return answer, asked


def client(answer: Answers, patience: Patience | None = None, time: Time | None = None) -> SiteClient:
    transport = httpx.MockTransport(answer)
    return SiteClient("http://g", "aihow_t", transport=transport, patience=patience, clock=time or Time())


# --- the decision -------------------------------------------------------------------------------------

WAKING = Refused("it wakes", status=503, code="waking", retry_after=7.0)
CUT_OFF = NoAnswer("http://g", "ConnectError")


@pytest.mark.parametrize(
    ("error", "waited", "patience", "seconds"),
    [
        (WAKING, 0.0, Patience(60), 7.0),
        (WAKING, 57.0, Patience(60), 3.0),
        (Refused("", status=502, retry_after=0.0), 0.0, Patience(60), 0.5),
        (CUT_OFF, 0.0, Patience(60, reconnect=30), 0.5),
        (CUT_OFF, 29.8, Patience(60, reconnect=30), pytest.approx(0.2)),
    ],
)
def test_it_asks_again(error: AiHowError, waited: float, patience: Patience, seconds: float) -> None:
    assert plan.pause(error, waited, patience) == seconds


@pytest.mark.parametrize(
    ("error", "waited", "patience"),
    [
        (WAKING, 0.0, Patience(0)),
        (Refused("no time told", status=503), 0.0, Patience(60)),
        (Refused("too often", status=429, retry_after=1.0), 0.0, Patience(60)),
        (NotFound("no such model"), 0.0, Patience(60)),
        (CUT_OFF, 0.0, Patience(60)),
        (CUT_OFF, 30.0, Patience(60, reconnect=30)),
        (NoAnswer("http://g", "ReadError", begun=True), 0.0, Patience(60, reconnect=30)),
    ],
)
def test_it_gives_up_with_the_error_itself(error: AiHowError, waited: float, patience: Patience) -> None:
    with pytest.raises(type(error)) as caught:
        plan.pause(error, waited, patience)
    assert caught.value is error


def test_its_patience_ends() -> None:
    with pytest.raises(TimedOut, match="not ready within 60 s"):
        plan.pause(WAKING, 60.0, Patience(60))


def test_a_connection_is_lost_since_it_broke_not_since_the_question_was_asked() -> None:
    tries = plan.Tries(Patience(600, reconnect=30), 0.0)
    assert tries.pause(CUT_OFF, 300.0) == 0.5, "the question had been waiting for a model that wakes"
    tries.again(300.5)
    assert tries.pause(CUT_OFF, 301.0) == 0.5
    tries.again(329.9)
    with pytest.raises(NoAnswer):
        tries.pause(CUT_OFF, 330.0)
    tries.again(331.0)
    assert tries.pause(CUT_OFF, 400.0) == 0.5, "somebody held it for a minute"
    tries.again(400.5)
    assert tries.pause(WAKING, 401.0) == 7.0


def test_a_connection_that_was_closed_is_made_anew_once() -> None:
    tries, dropped = plan.Tries(Patience(600), 0.0), NoAnswer("http://g", "ReadError", dropped=True)
    assert tries.pause(dropped, 0.0) == 0.0
    with pytest.raises(NoAnswer):
        tries.pause(dropped, 0.1)
    with pytest.raises(NoAnswer):
        plan.Tries(Patience(600), 0.0).pause(NoAnswer("http://g", "x", begun=True, dropped=True), 0.0)


# --- both clients -------------------------------------------------------------------------------------


def test_a_model_that_wakes_is_waited_for() -> None:
    answer, asked = scripted(refused(503, "waking", "20"), refused(503, "waking", "5"), said("hello"))
    time, told = Time(), []
    site = SiteClient(
        "http://g/v1", "t", transport=httpx.MockTransport(answer), clock=time,
        on_wait=lambda error, seconds: told.append((error.message, seconds)),
    )  # fmt: skip
    assert site.chat("tiny", "hi").text == "hello"
    assert time.slept == [20.0, 5.0] and len(asked) == 3
    assert told == [("the scheduler refused: It wakes.", 20.0), ("the scheduler refused: It wakes.", 5.0)]
    assert {str(one.url) for one in asked} == {"http://g/v1/chat/completions"}


def test_a_model_that_wakes_is_waited_for_asynchronously() -> None:
    answer, asked = scripted(
        refused(503, "waking", "20"), said("hello"), refused(503, "waking", "5"), events({"content": "a"})
    )
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask() -> tuple[str, list[str]]:
        async with AsyncSiteClient(
            "http://g", "t", transport=httpx.MockTransport(answer), sleep=sleep
        ) as site:
            whole = await site.chat("tiny", "hi")
            return whole.text, [text async for text in site.chat("tiny", "hi", stream=True)]

    assert asyncio.run(ask()) == ("hello", ["a"])
    assert slept == [20.0, 5.0]


def test_a_gateway_out_of_reach_is_asked_again_while_its_tunnel_comes_back() -> None:
    answer, asked = scripted(
        httpx.ConnectError("refused"), httpx.ReadError("reset"), events({"content": "a"})
    )
    site = client(answer, Patience(reconnect=30))
    assert list(site.chat("tiny", "hi", stream=True)) == ["a"] and len(asked) == 3
    with pytest.raises(NoAnswer):
        client(scripted(httpx.ConnectError("refused"))[0]).chat("tiny", "hi")
    restarted = scripted(httpx.RemoteProtocolError("Server disconnected"), said("hello"))[0]
    assert client(restarted).chat("tiny", "hi").text == "hello"


def test_silence_is_a_time_out() -> None:
    with pytest.raises(TimedOut, match="nothing was heard for 600 s"):
        client(scripted(httpx.ReadTimeout("slow"))[0], Patience(reconnect=30)).wake("tiny")


def test_a_refusal_carries_its_facts() -> None:
    with pytest.raises(Refused) as caught:
        client(scripted(refused(429, "rate_limit_exceeded", "3"))[0]).models()
    found = caught.value
    assert (found.status, found.code, found.source) == (429, "rate_limit_exceeded", "scheduler")
    assert (found.retry_after, found.request_id) == (3.0, "r1") and "r1" in (found.cause or "")


def test_a_refusal_in_ollamas_shape_is_read() -> None:
    body = {"error": "The model 'x' does not exist.", "code": "model_not_found", "source": "gateway"}
    with pytest.raises(NotFound, match="does not exist"):
        client(scripted(httpx.Response(404, json=body))[0]).wake("x")


def test_a_stream_without_an_end_is_an_error() -> None:
    pieces = client(scripted(events({"content": "a"}, done=False))[0]).chat("tiny", "hi", stream=True)
    assert next(pieces) == "a"
    with pytest.raises(CouldNotTell, match="broke off"):
        next(pieces)


def test_tool_calls_whole_and_in_pieces() -> None:
    choice = {"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    answer = client(lambda _: httpx.Response(200, json={"choices": [choice], "usage": usage})).chat("t", "hi")
    assert answer.tool_calls == (ToolCall("a1", "add", '{"a": 1}'),)
    assert answer.tool_calls[0].parsed() == {"a": 1} and answer.usage == Usage(3, 2)
    with pytest.raises(CouldNotTell, match="no JSON"):
        ToolCall("a", "add", "{").parsed()
    with pytest.raises(CouldNotTell, match="no object"):
        ToolCall("a", "add", "[]").parsed()
    first = {"index": 0, "id": "a1", "function": {"name": "add", "arguments": ""}}
    then = {"index": 0, "function": {"arguments": '{"a": 1}'}}
    found = list(
        client(scripted(events({"tool_calls": [first]}, {"tool_calls": [then]}))[0]).pieces("t", "hi")
    )
    assert found == [
        Piece(tool_calls=(ToolCallPart(0, "a1", "add"),)),
        Piece(tool_calls=(ToolCallPart(0, arguments='{"a": 1}'),)),
    ]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": [{"index": 0}]}', b'{"choices": []}', b"<html>"])
def test_answers_that_are_none(body: bytes) -> None:
    site = client(lambda _: httpx.Response(200, content=body))
    for ask in (
        lambda: site.chat("t", "hi"),
        lambda: site.complete("t", "hi"),
        lambda: site.embed("t", "hi"),
    ):
        with pytest.raises(CouldNotTell):
            ask()


def test_vectors_come_in_the_order_of_the_texts() -> None:
    data = [{"index": 1, "embedding": [2, 3]}, {"index": 0, "embedding": [0, 1]}]
    answer, asked = scripted(httpx.Response(200, json={"data": data, "model": "t"}))
    assert client(answer).embed("t", ["a", "b"]).vectors == ((0.0, 1.0), (2.0, 3.0))
    assert json.loads(asked[0].content) == {"model": "t", "input": ["a", "b"]}


# --- conversations ------------------------------------------------------------------------------------


def test_a_conversation_carries_on() -> None:
    answer, asked = scripted(said("one"), events({"content": "t"}, {"content": "wo"}), said("three"))
    talk = client(answer).chat("tiny", system="Be brief.", temperature=0)
    assert talk.say("1").text == "one" and list(talk.stream("2")) == ["t", "wo"]
    talk.say("3")
    body = json.loads(asked[-1].content)
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "1", "one", "2", "two", "3"]
    assert body["temperature"] == 0 and "system" not in body
    talk.forget()
    assert [message["role"] for message in talk.messages] == ["system"]


def test_a_question_without_an_answer_is_forgotten_and_a_part_of_one_is_kept() -> None:
    answer, _ = scripted(refused(400, "invalid_request"), events({"content": "a"}, {"content": "b"}))
    talk = client(answer).chat("tiny")
    with pytest.raises(Refused):
        talk.say("1")
    assert talk.messages == []
    stream = talk.stream("2")
    assert next(stream) == "a"
    stream.close()  # type: ignore[attr-defined]
    assert [message["content"] for message in talk.messages] == ["2", "a"]


def test_an_asynchronous_conversation() -> None:
    answer, asked = scripted(said("one"), events({"content": "two"}))

    async def talk() -> list[str]:
        async with AsyncSiteClient("http://g", "t", transport=httpx.MockTransport(answer)) as site:
            conversation = site.chat("tiny")
            await conversation.say("1")
            assert [text async for text in conversation.stream("2")] == ["two"]
            return [str(message["content"]) for message in conversation.messages]

    assert asyncio.run(talk()) == ["1", "one", "2", "two"]


def test_the_token_stays_out_of_what_is_shown() -> None:
    site = SiteClient("http://g", "aihow_secret")
    assert "aihow_secret" not in repr(site.settings) + repr(site)
    assert site.asynchronous.settings == site.settings
