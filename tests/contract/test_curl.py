"""curl against the gateway: what a shell script sends and sees. The token goes in by standard input."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from door import Door

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="curl is not there")
SAID: dict[str, Any] = {"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def curl(door: Door, path: str, body: object = None, *options: str) -> str:
    """What curl prints; its configuration, with the header in it, is read from standard input."""
    assert CURL is not None
    data = () if body is None else ("--json", json.dumps(body))
    bare = (CURL, "--silent", "--show-error", "--no-buffer", "--noproxy", "*", "--config", "-")
    done = subprocess.run(
        [*bare, *options, *data, door.url + path],
        input=f'header = "Authorization: Bearer {door.token}"\n',
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_an_answer(door: Door) -> None:
    answer = json.loads(curl(door, "/v1/chat/completions", SAID | {"max_tokens": 4}))
    assert answer["usage"]["completion_tokens"] == 4
    assert [one["id"] for one in json.loads(curl(door, "/v1/models"))["data"]] == ["tiny"]


def test_a_stream(door: Door) -> None:
    text = curl(door, "/v1/chat/completions", SAID | {"max_tokens": 4, "stream": True}, "--include")
    head, _, events = text.partition("\r\n\r\n") if "\r\n\r\n" in text else text.partition("\n\n")
    assert head.startswith("HTTP/1.1 200") and "text/event-stream" in head.lower()
    data = [line.removeprefix("data: ") for line in events.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]" and len([json.loads(one) for one in data[:-1]]) > 1


def test_ollamas_lines(door: Door) -> None:
    lines = curl(door, "/api/chat", SAID | {"options": {"num_predict": 4, "temperature": 0}}).splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert found[-1]["done"] and found[-1]["eval_count"] == 4 and len(found) > 2


def test_a_body_from_a_file_and_an_old_protocol(door: Door, tmp_path: Path) -> None:
    """curl asks before it sends a large body (Expect: 100-continue), and may speak HTTP/1.0."""
    large = tmp_path / "body.json"
    large.write_text(json.dumps({"model": "tiny", "prompt": "hi", "max_tokens": 2, "user": "x" * 2_000_000}))
    head = "Content-Type: application/json"
    answer = json.loads(curl(door, "/v1/completions", None, "--data-binary", f"@{large}", "--header", head))
    assert answer["usage"]["completion_tokens"] == 2
    assert json.loads(curl(door, "/v1/models", None, "--http1.0"))["object"] == "list"


def test_a_refusal(door: Door) -> None:
    text = curl(door, "/v1/chat/completions", SAID | {"model": "tinny"}, "--write-out", "\n%{http_code}")
    body, _, status = text.rpartition("\n")
    assert status == "404" and json.loads(body)["error"]["code"] == "model_not_found"
