"""Tokens are counted again where the answers are text, and only there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai_how.bench.exchange import ChatExchange
from ai_how.bench.interfaces import Heard, Measured, Place
from ai_how.bench.targets.inference import Told, known_before
from ai_how.bench.work import Address
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench

RECIPE = 'version: "1.0"\nkind: bench\nname: tokens\ntarget: {api: openai, model: bytes}\n'


class Bytes(BaseHTTPRequestHandler):
    """Tokenizes as a model does whose tokens are single bytes."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = json.dumps({"tokens": list(body["content"].encode())}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Bytes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Place(LocalGate(), tmp_path, Address("127.0.0.1", server.server_port))
        server.shutdown()
        thread.join()


class Said:
    """A client that got these answers: what the model said in bytes, of which the server makes text."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers

    def calibrate(self) -> None:
        return None

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        made = []
        for answer in self.answers:
            text = [answer.decode(errors="replace")]
            one = ChatExchange(1.0, 1.0, 1.0, 2.0, 3.0, 200, tokens=len(answer), text=text, finish="length")
            made.append(one)
        return Measured(seconds=1.0, exchanges=made)

    def close(self) -> None:
        return


def told(place: Place, *answers: bytes) -> Measured:
    return Told(parse_bench(RECIPE, "tokens"), place, Said(*answers)).run(1)


def test_answers_that_are_text_are_counted_again(place: Place) -> None:
    found = told(place, b"one word", "zwölf".encode())
    assert found.tokens_agree == 1.0 and found.notes == {"tokens_counted_by": "server"}


def test_bytes_that_are_no_text_are_not_held_against_the_server(place: Place) -> None:
    """Each became a character of three bytes: 11 tokens would have been counted as 19."""
    found = told(place, b"one word", b"R\xdc\xdc\xdcX\xdc^..", b"R\xff")
    assert found.tokens_agree == 1.0
    assert found.notes["tokens_no_text"] == "2 of 3 answers hold bytes that are no text"


def test_without_any_text_nobody_can_tell(place: Place) -> None:
    found = told(place, b"R\xdc\xdc", b"\xff\xff")
    assert found.tokens_agree is None
    assert found.notes["tokens_not_counted"] == (
        "no answer can be counted again: each holds bytes that are no text"
    )


def test_what_the_engine_knew_from_before_is_the_state_of_its_cache() -> None:
    answers = [ChatExchange(1.0, asked_tokens=50, cached_tokens=cached) for cached in (0, 10, 50)]
    assert known_before(answers) == "40% of the prompt tokens were known to the engine's prefix cache"
    assert known_before([ChatExchange(1.0, asked_tokens=50)]) is None
