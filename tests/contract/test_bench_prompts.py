"""What a served model is asked: no prompt twice, by whatever run, or a prefix cache would be what is measured."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.work import Address
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench

RECIPE = """\
version: "1.0"
kind: bench
name: prompts
target: {{api: openai, model: any, url: "http://{address}"}}
workload: {{prompts: {{words: 8, max_tokens: 2, tokenizer: none}}}}
load: {{arrivals: closed, clients: 2, seconds: 0.2{load}}}
repetitions: 1
{more}"""


class Remembers(ThreadingHTTPServer):
    """A model that says two words and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.server_port)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Remembers

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body["messages"][0]["content"])
        events = [{"choices": [{"delta": {"content": "word"}}]}] * 2
        events.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
        text = "".join(f"data: {json.dumps(one)}\n\n" for one in events) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def model() -> Iterator[Remembers]:
    server = Remembers()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("load", "more"), [
    ("", ""),
    ("", "sweep: {load.clients: [1, 2]}\n"),
    ("", "against: {load.clients: 3}\n"),
    (", processes: 2", ""),
    ("", "search: {key: load.clients, low: 1, high: 4}\nobjective: {latency_ms: 60000}\n"),
])  # fmt: skip
def test_no_prompt_is_asked_twice(load: str, more: str, model: Remembers, tmp_path: Path) -> None:
    recipe = parse_bench(RECIPE.format(address=model.address, load=load, more=more), "r.yaml")
    for _ in range(2):
        Bench(recipe, Place(LocalGate(), tmp_path, model.address)).run()
    numbers = [prompt.split()[0] for prompt in model.asked]
    assert len(numbers) > 20 and len(set(numbers)) == len(numbers)
