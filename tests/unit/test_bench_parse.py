"""Answers are read the same however they are cut into pieces, and rubbish is never one."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ai_how.bench.exchange import ChatExchange, Exchange, OllamaExchange, VectorExchange
from ai_how.bench.parse import EventParser, ResponseParser, Rubbish
from ai_how.bench.targets.web import address_of
from ai_how.errors import NotFound, UsageError

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 201 Made\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nmore: less\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
FIRST_100 = b"HTTP/1.1 100 Continue\r\n\r\n"


class Heard:
    def __init__(self) -> None:
        self.heads: list[tuple[int, bool]] = []
        self.bodies: list[bytes] = [b""]

    def on_head(self, status: int, stays: bool) -> None:
        self.heads.append((status, stays))

    def on_body(self, data: bytes) -> None:
        self.bodies[-1] += data

    def on_end(self) -> None:
        self.bodies.append(b"")


def test_every_way_to_cut_two_answers() -> None:
    whole = FIRST_100 + SIZED + CHUNKED + EMPTY
    for size in range(1, len(whole)):
        heard = Heard()
        parser = ResponseParser(heard)
        for at in range(0, len(whole), size):
            parser.feed(whole[at : at + size])
        assert heard.heads == [(200, True), (201, True), (204, True)]
        assert heard.bodies == [b"hello", b"hello", b"", b""]


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    heard = Heard()
    parser = ResponseParser(heard)
    parser.feed(b"HTTP/1.0 200 OK\r\n\r\nto the end")
    assert heard.heads == [(200, False)] and len(heard.bodies) == 1
    assert parser.closed()
    assert heard.bodies == [b"to the end", b""]


def test_a_connection_that_closes_within_an_answer_ends_none() -> None:
    parser = ResponseParser(Heard())
    parser.feed(SIZED[:-1])
    assert not parser.closed()


@pytest.mark.parametrize(("head", "stays"), [
    (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", False),
    (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
    (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", True),
])  # fmt: skip
def test_whether_a_connection_stays(head: bytes, stays: bool) -> None:
    heard = Heard()
    ResponseParser(heard).feed(head)
    assert heard.heads == [(200, stays)]


@pytest.mark.parametrize("rubbish", [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1_0\r\na\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
    b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
])  # fmt: skip
def test_rubbish_is_no_answer(rubbish: bytes) -> None:
    with pytest.raises(Rubbish):
        ResponseParser(Heard()).feed(rubbish)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_are_the_same_however_they_are_cut(end: str) -> None:
    text = ": a comment||data: one||data:two|data: lines|id: 7||event: ping||data: [DONE]||x"
    stream = text.replace("|", end).encode()
    for size in range(1, len(stream)):
        parser = EventParser()
        found = [event for at in range(0, len(stream), size) for event in parser.feed(stream[at : at + size])]
        assert found == [b"one", b"two\nlines", b"[DONE]"]


def chat(*events: bytes, status: int = 200) -> ChatExchange:
    one = ChatExchange(due=1.0, woke=1.0, sent=1.0)
    one.status = status
    for number, event in enumerate(events):
        one.body(b"data: " + event + b"\n\n", 2.0 + number)
    one.end(9.0)
    return one


TEXT = b'{"choices": [{"delta": {"content": "hi"}}]}'
ROLE = b'{"choices": [{"delta": {"role": "assistant", "content": ""}}]}'
USAGE = b'{"choices": [], "usage": {"completion_tokens": 6}}'
CACHED = (
    b'{"choices": [], "usage": {"completion_tokens": 6, "prompt_tokens": 9, '
    b'"prompt_tokens_details": {"cached_tokens": 4}}}'
)


def test_a_chat_is_timed_by_what_brings_text() -> None:
    one = chat(ROLE, TEXT, TEXT, TEXT, USAGE, b"[DONE]")
    assert one.good and (one.first, one.last, one.done) == (3.0, 5.0, 9.0)
    assert one.events == 3 and one.tokens == 6 and one.gaps == [1.0, 1.0] and one.cached_tokens is None
    known = chat(TEXT, CACHED, b"[DONE]")
    assert (known.asked_tokens, known.cached_tokens) == (9, 4)


@pytest.mark.parametrize(("events", "error"), [
    ((TEXT,), "stream cut off"),
    ((ROLE, b"[DONE]"), "no token in the stream"),
    ((TEXT, b"{rubbish", b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b"[1]", b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"choices": 5}', b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"usage": {"tokens": 5}}', b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"usage": {"completion_tokens": Infinity}}', b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"usage": {"completion_tokens": -5}}', b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"usage": {"completion_tokens": 1e3}}', b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"timings": [1, 2]}', b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b"[" * 100_000, b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"choices": [{"delta": {"content": 5}}]}', b"[DONE]"), "rubbish in the stream"),
    ((TEXT, b'{"error": {"message": "no"}}', b"[DONE]"), "error in the stream"),
])  # fmt: skip
def test_an_engine_that_returns_rubbish_has_failed(events: tuple[bytes, ...], error: str) -> None:
    one = chat(*events)
    assert not one.good and one.error == error


@pytest.mark.parametrize("kind", [ChatExchange, OllamaExchange, VectorExchange])
def test_no_answer_whatever_it_says_is_more_than_a_failure(kind: type[Exchange]) -> None:
    """An engine may say anything at all: some thousands of answers, made of what a good one is made of."""
    chance = random.Random(5)
    values = (
        "null",
        "true",
        "-1",
        "1e999",
        "NaN",
        '"x"',
        "[]",
        "[1]",
        "{}",
        '{"a": 1}',
        "[" * 5000,
        "1" * 5000,
    )
    keys = (
        "choices", "delta", "content", "usage", "completion_tokens", "timings", "message", "done", "eval_count",
        "eval_duration", "prompt_eval_count", "done_reason", "finish_reason", "error", "data", "embedding",
    )  # fmt: skip

    def thing(depth: int) -> str:
        if depth == 0 or chance.random() < 0.3:
            return chance.choice(values)
        inner = ", ".join(
            f'"{chance.choice(keys)}": {thing(depth - 1)}' for _ in range(chance.randrange(1, 4))
        )
        return f"[{{{inner}}}]" if chance.random() < 0.3 else f"{{{inner}}}"

    for _ in range(2000):
        one = kind(due=1.0, woke=1.0, sent=1.0, status=200)
        for _ in range(3):
            one.body(f"{'data: ' if kind is ChatExchange else ''}{thing(4)}\n\n".encode(), 2.0)
        one.end(3.0)
        tokens = getattr(one, "tokens", None)
        assert tokens is None or (isinstance(tokens, int) and tokens >= 0)


def test_a_refusal_is_a_failure_by_its_status() -> None:
    assert chat(TEXT, status=503).error == "status 503"
    plain = Exchange(due=0.0, status=404)
    plain.end(1.0)
    assert plain.error == "status 404" and not plain.good


def test_an_address_with_tls_is_known_by_a_certificate(tmp_path: Path) -> None:
    assert str(address_of("http://127.0.0.1:8080")) == "127.0.0.1:8080"
    assert address_of("http://127.0.0.1").context is None
    address = address_of("https://127.0.0.1")
    assert (address.port, address.url) == (443, "https://127.0.0.1:443") and address.context is not None
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(UsageError, match="holds no certificate"):
        address_of("https://127.0.0.1", tmp_path / "ca.pem")
    with pytest.raises(NotFound):
        address_of("https://127.0.0.1", tmp_path / "nowhere.pem")


@pytest.mark.parametrize(("vectors", "error"), [
    (0, "no vector in the answer"), (1, "not a vector for each text"), (3, ""), (4, "not a vector for each text"),
])  # fmt: skip
def test_an_answer_has_a_vector_for_each_text(vectors: int, error: str) -> None:
    one = VectorExchange(0.0, wanted=3)
    one.status = 200
    rows = [{"object": "embedding", "index": index, "embedding": [0.5]} for index in range(vectors)]
    one.body(json.dumps({"data": rows, "usage": {"prompt_tokens": 9}}).encode(), 1.0)
    one.end(1.0)
    assert one.error == error and one.tokens == 9
