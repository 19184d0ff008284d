"""Ollama's API put into OpenAI's words, and the answers put back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_how.serving.gateway.dialect import Asked, Malformed
from ai_how.serving.gateway.model import Refusal
from ai_how.serving.gateway.ollama import Chat, Embedded, Generate, Shown, ollama
from ai_how.serving.gateway.ollama.suit import suited
from ai_how.wire.events import EventReader


class FixedClock:
    def now(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return 5.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError


CLOCK = FixedClock()


def ask(path: str, **body: Any) -> Asked:
    return ollama(f"/api/{path}", json.dumps({"model": "tiny", **body}).encode(), {"tiny"}, CLOCK)


def sent(path: str, **body: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(ask(path, **body).body)
    return facts


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return sent("chat", messages=list(messages), **more)


def said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("kept", [0, 0.0, "0", "0s", "0m"])
@pytest.mark.parametrize("path", ["chat", "generate"])
def test_who_asks_to_unload_a_model_wakes_nobody(path: str, kept: float | str) -> None:
    asked = ask(path, keep_alive=kept)
    assert json.loads(asked.at_once or b"")["done_reason"] == "unload" and not asked.wakes
    for other in (None, 5, -1, "5m", "-1"):
        asked = ask(path, keep_alive=other)
        assert json.loads(asked.at_once or b"")["done_reason"] == "load" and asked.wakes


def test_a_chat_streams_unless_told_not_to() -> None:
    assert chat(said("hi")) == {
        "model": "tiny",
        "messages": [said("hi")],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "stream" not in chat(said("hi"), stream=False)


def test_options_have_their_names_there_and_those_of_loading_are_left_out() -> None:
    options = {"num_predict": 7, "temperature": 0, "top_k": 5, "stop": ["a"], "num_ctx": 9, "num_gpu": 1}
    found = chat(said("hi"), options=options, stream=False, keep_alive=-1)
    assert found.keys() - {"model", "messages"} == {"max_tokens", "temperature", "top_k", "stop"}
    assert found["max_tokens"] == 7 and found["temperature"] == 0


def test_no_limit_is_no_limit() -> None:
    assert "max_tokens" not in chat(said("hi"), options={"num_predict": -1})


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (True, {"chat_template_kwargs": {"enable_thinking": True}}),
        (False, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("low", {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "low"}),
        (None, {}),
    ],
)
def test_thinking(think: object, expected: dict[str, Any]) -> None:
    found = chat(said("hi"), think=think, stream=False)
    assert {key: value for key, value in found.items() if key not in ("model", "messages")} == expected


def test_formats() -> None:
    assert chat(said("hi"), format="json")["response_format"] == {"type": "json_object"}
    schema = {"type": "object"}
    assert chat(said("hi"), format=schema)["response_format"]["json_schema"]["schema"] == schema


def test_images_go_as_addresses_of_their_own_kind() -> None:
    content = chat({**said("what?"), "images": ["/9j/4AAQ", "iVBORw0K"]})["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "image_url"]
    assert [part["image_url"]["url"] for part in content[1:]] == [
        "data:image/jpeg;base64,/9j/4AAQ",
        "data:image/png;base64,iVBORw0K",
    ]


def test_every_answer_of_a_tool_finds_its_call() -> None:
    calls = [{"function": {"name": name, "arguments": {"n": n}}} for n, name in enumerate("aba")]
    tools = [{"role": "tool", "content": name, "tool_name": name} for name in "bax"]
    found = chat({"role": "assistant", "tool_calls": calls}, *tools)["messages"]
    assert [call["id"] for call in found[0]["tool_calls"]] == ["call_0", "call_1", "call_2"]
    assert json.loads(found[0]["tool_calls"][2]["function"]["arguments"]) == {"n": 2}
    assert [message["tool_call_id"] for message in found[1:]] == ["call_1", "call_0", "call_2"]


def test_generate_is_a_chat_unless_raw() -> None:
    one = ask("generate", prompt="hi", system="be brief")
    assert one.path == "/v1/chat/completions"
    assert [message["role"] for message in json.loads(one.body)["messages"]] == ["system", "user"]
    raw = ask("generate", prompt="hi", raw=True)
    assert (raw.path, json.loads(raw.body)["prompt"]) == ("/v1/completions", "hi")


@pytest.mark.parametrize("field", [{"suffix": "x"}, {"template": "x"}, {"context": [1]}])
def test_what_has_no_counterpart_is_refused_by_name(field: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        ask("generate", prompt="hi", **field)
    assert (caught.value.status, caught.value.code) == (400, "not_supported")
    assert json.loads(caught.value.body("ollama"))["source"] == "gateway"


def test_an_older_client_says_name() -> None:
    asked = ollama("/api/show", b'{"name": "tiny:latest"}', {"tiny"}, CLOCK)
    assert (asked.model, asked.method, asked.path) == ("tiny", "GET", "/v1/models")


def test_a_served_name_with_that_tag_is_left_alone() -> None:
    assert ollama("/api/show", b'{"model": "tiny:latest"}', {"tiny:latest"}, CLOCK).model == "tiny:latest"


def test_a_bad_request_never_repeats_itself() -> None:
    with pytest.raises(Refusal) as caught:
        ask("chat", messages="my secret prompt")
    assert caught.value.param == "messages" and "secret prompt" not in caught.value.message


# --- answers --------------------------------------------------------------------------------------------


def event(**delta: Any) -> bytes:
    reason = delta.pop("finish_reason", None)
    facts = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    return f"data: {json.dumps(facts)}\n\n".encode()


def lines(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines()]


END = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_cut_anywhere_is_the_same_stream(size: int) -> None:
    stream = b": waiting\n\n" + event(role="assistant", content=None) + event(reasoning_content="hm")
    stream += event(content="grüß") + event(content=" dich", finish_reason="stop") + END
    answering = Chat("tiny", CLOCK)
    pieces = [answering.piece(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert answering.end() == b""
    found = lines(b"".join(pieces))
    assert [one["message"].get("thinking") for one in found] == ["hm", None, None, None]
    assert "".join(one["message"]["content"] for one in found) == "grüß dich"
    assert [one["done"] for one in found] == [False, False, False, True]
    assert (found[-1]["done_reason"], found[-1]["prompt_eval_count"], found[-1]["eval_count"]) == (
        "stop",
        3,
        2,
    )
    assert found[0]["created_at"] == "2023-11-14T22:13:20Z"


def test_calls_that_come_in_fragments_are_sent_whole() -> None:
    answering = Chat("tiny", CLOCK)
    parts = [
        {"index": 0, "id": "x", "function": {"name": "add", "arguments": '{"a"'}},
        {"index": 1, "function": {"name": "now", "arguments": ""}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    raw = b"".join(answering.piece(event(tool_calls=[part])) for part in parts)
    assert raw == b""
    raw += answering.piece(event(finish_reason="tool_calls") + END)
    calls, last = lines(raw)
    assert calls["message"]["tool_calls"] == [
        {"function": {"name": "add", "arguments": {"a": 1}}},
        {"function": {"name": "now", "arguments": {}}},
    ]
    assert last["done_reason"] == "stop"


def test_a_stream_that_ends_too_early_did_not_end() -> None:
    answering = Generate("tiny", CLOCK)
    assert lines(answering.piece(event(content="x")))[0]["response"] == "x"
    with pytest.raises(Malformed):
        answering.end()
    told = lines(answering.broken(Refusal(502, "The engine broke off.", "k", "c", source="engine")))
    assert told == [{"error": "The engine broke off.", "code": "c", "source": "engine"}]


@pytest.mark.parametrize(
    "raw",
    [
        b"data: {not json\n\n",
        b"data: []\n\n",
        b'data: {"choices": 7}\n\n',
        b'data: {"choices": [{"delta": "text"}]}\n\n',
        b'data: {"error": {"message": "boom"}}\n\n',
        event(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{"}}], finish_reason="stop"),
    ],
)
def test_a_malformed_stream_is_told_from_a_good_one(raw: bytes) -> None:
    with pytest.raises(Malformed):
        Chat("tiny", CLOCK).piece(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"choices": []}', b'{"choices": [{"message": 7}]}', b'{"data": [{}]}']
)
def test_a_malformed_answer(raw: bytes) -> None:
    for answering in (Chat("tiny", CLOCK), Generate("tiny", CLOCK), Embedded("tiny", CLOCK), Shown("tiny")):
        with pytest.raises(Malformed):
            answering.whole(raw)


def test_vectors_come_in_the_order_of_their_texts() -> None:
    raw = json.dumps({"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]}).encode()
    assert json.loads(Embedded("tiny", CLOCK).whole(raw))["embeddings"] == [[1], [2]]
    assert json.loads(Embedded("tiny", CLOCK, single=True).whole(raw)) == {"embedding": [1]}


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    answering = Chat("tiny", CLOCK)
    with pytest.raises(Malformed):
        for _ in range(20):
            answering.piece(b"x" * 1024 * 1024)


def test_events_with_other_line_ends_and_fields() -> None:
    reader = EventReader()
    assert list(reader.feed(b"event: x\r\ndata:one\r\n\r\nda")) == ["one"]
    assert list(reader.feed(b"ta: [DONE]\n")) == ["[DONE]"]


FULL = {
    "model": "tiny", "messages": [], "temperature": 0.1, "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1,
    "reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": True},
}  # fmt: skip


@pytest.mark.parametrize(
    ("engine", "gone", "more"),
    [
        ("llama.cpp", (), {}),
        ("another", (), {}),
        ("vllm", ("repeat_penalty",), {"repetition_penalty": 1.1}),
        ("ollama", ("top_k", "min_p", "repeat_penalty", "chat_template_kwargs"), {}),
        ("transformers", ("top_k", "min_p", "repeat_penalty"), {}),
    ],
)
def test_each_engine_is_asked_in_its_own_words(
    engine: str, gone: tuple[str, ...], more: dict[str, Any]
) -> None:
    left = {key: value for key, value in FULL.items() if key not in gone}
    assert suited(FULL, engine) == left | more


def test_thinking_is_switched_off_in_ollamas_words_and_refused_nowhere() -> None:
    off = FULL | {"chat_template_kwargs": {"enable_thinking": False}}
    assert suited(off, "ollama")["reasoning_effort"] == "none"
    raw = {"model": "tiny", "prompt": "hi", "chat_template_kwargs": {}, "reasoning_effort": "low", "seed": 1}
    assert suited(raw, "transformers") == {"model": "tiny", "prompt": "hi", "seed": 1}


def test_a_request_is_put_for_the_replica_that_gets_it() -> None:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "options": {"top_k": 5, "num_predict": 7},
    }
    asked = ollama("/api/chat", json.dumps(body).encode(), {"tiny"}, CLOCK)
    assert (asked.most, asked.tokens > 7) == (7, True)
    assert asked.body_for("llama.cpp") is asked.body and json.loads(asked.body)["top_k"] == 5
    assert "top_k" not in json.loads(asked.body_for("transformers"))


def test_what_a_model_thought_has_two_names() -> None:
    for name in ("reasoning", "reasoning_content"):
        whole = Chat("tiny", CLOCK).whole(
            json.dumps({"choices": [{"message": {"content": "4", name: "2 + 2"}}]}).encode()
        )
        assert json.loads(whole)["message"]["thinking"] == "2 + 2"
