"""An engine that calls tools by a script: the first tool it is offered, then an answer with what the tool said.

No model that is small enough for the tests calls tools. Standard library only, like the real engines' launchers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = {"object": "list", "data": [{"id": "tiny", "object": "model", "created": 1, "owned_by": "tests"}]}


def answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """The message: a call, or what the last tool said."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"The tool says {last['content']}."}
    if wanted := (body.get("response_format") or {}).get("json_schema"):
        return {"role": "assistant", "content": json.dumps(instance(wanted["schema"]))}
    tools = body.get("tools")
    if not tools:
        return {"role": "assistant", "content": "No tools."}
    function = tools[0]["function"]
    words = str(last["content"]).split()
    # The word after "partition" for every argument that is a text.
    named = words[words.index("partition") + 1] if "partition" in words else ""
    arguments = {
        key: named if kind["type"] == "string" else 1
        for key, kind in function["parameters"]["properties"].items()
    }
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": function["name"], "arguments": json.dumps(arguments)},
    }
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def instance(schema: Mapping[str, Any]) -> Any:
    """Something that a schema allows, as far as the tests' schemas go."""
    if "anyOf" in schema:
        return instance(schema["anyOf"][0])
    if schema.get("type") == "object":
        return {key: instance(kind) for key, kind in schema.get("properties", {}).items()}
    return {"integer": 1, "number": 1.5, "boolean": True, "array": []}.get(str(schema.get("type")), "words")


def pieces(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same in a stream: a call comes in three pieces."""
    for call in message.get("tool_calls", ()):
        arguments = call["function"]["arguments"]
        yield {"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]}
        for part in (arguments[:5], arguments[5:]):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}
    if message["content"]:
        yield {"content": message["content"]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send(MODEL)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = answer(body)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        if not body.get("stream"):
            self.send(
                {"model": "tiny", "choices": [{"index": 0, "message": message, "finish_reason": reason}]}
            )
            return
        deltas: list[tuple[dict[str, Any], str | None]] = [(piece, None) for piece in pieces(message)]
        events = [
            {"model": "tiny", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
            for delta, end in [*deltas, ({}, reason)]
        ]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self.write(200, text.encode(), "text/event-stream")

    def send(self, facts: object) -> None:
        if self.headers.get("authorization") != f"Bearer {os.environ['FAKE_SECRET']}":
            self.write(401, b'{"error": {"message": "no", "type": "t"}}')
            return
        self.write(200, json.dumps(facts).encode())

    def write(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
