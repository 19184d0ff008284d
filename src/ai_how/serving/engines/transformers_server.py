"""The transformers engine as a process: Hugging Face's own `transformers serve`, with what it lacks for a replica.

Runs on the compute node, in the ``transformers`` runtime environment, where AI-HOW is not installed. The server itself
knows no secrets, calls its model by the path it was loaded from, has a page that loads any model of the machine, and
ends a stream without the event that clients wait for. In front of it, in the same process, stands a small application
that asks for the replica's secret, lets through what serves the one model, and calls it by the name that clients use.
It takes a free port itself and writes ``host:port`` into the address file. It ends by SIGINT, not by SIGTERM.
"""

from __future__ import annotations

import argparse
import hmac
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: What the model is called inside: a link of that name in the working folder.
INSIDE = "model"
BODY_MOST = 64 * 2**20
NUMBERS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "frequency_penalty", "seed")
PAGES = ("/v1/chat/completions", "/v1/completions", "/v1/responses")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the Hugging Face folder")
    parser.add_argument("--alias", required=True, help="the name that clients ask for")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument(
        "--address-file", required=True, help="where to write host:port once the model is loaded"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or auto: the GPUs of the job")
    parser.add_argument("--batching", action="store_true", help="continuous batching, which wants a GPU")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


class Refused(Exception):
    """A request that is not passed on."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Front:
    """The application in front of `transformers serve`'s own."""

    def __init__(self, app: Callable[..., Awaitable[None]], secret: str, name: str) -> None:
        self._app = app
        self._secret = secret.encode()
        self._name = name
        self._began = int(time.time())
        self._running = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        except Refused as refused:
            await reply(send, refused.status, envelope(refused.status, str(refused)))

    async def _answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], b"Bearer " + self._secret):
            raise Refused(401, "this replica is reached through its gateway")
        path, method = scope["path"], scope["method"]
        if (method, path) == ("GET", "/v1/models"):
            card = {"id": self._name, "object": "model", "created": self._began, "owned_by": "ai-how"}
            await reply(send, 200, {"object": "list", "data": [card]})
        elif (method, path) == ("GET", "/metrics"):
            await reply(send, 200, f"ai_how_transformers_running {self._running}\n")
        elif method == "POST" and path in PAGES:
            self._running += 1
            try:
                await self._pass_on(scope, receive, send)
            finally:
                self._running -= 1
        else:
            raise Refused(404, f"transformers serve has no {path} here")

    async def _pass_on(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        asked = read_object(await body_of(receive))
        if asked.get("model", self._name) != self._name:
            raise Refused(404, f"this replica serves {self._name}")
        messages = asked.get("messages", [])
        if not isinstance(messages, list) or any(
            not isinstance(one, dict) or not {"content", "tool_calls"} & one.keys() for one in messages
        ):
            raise Refused(400, "messages must be a list of objects with a role and a content")
        for key in NUMBERS:
            if isinstance(asked.get(key), (str, bool, list, dict)):
                raise Refused(400, f"{key} must be a number")
        body = json.dumps({**asked, "model": INSIDE}).encode()
        headers = [pair for pair in scope["headers"] if pair[0] not in (b"authorization", b"content-length")]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        handed = False

        async def again() -> dict[str, Any]:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, Answer(send, self._name, scope["path"]))


class Answer:
    """Passes the server's answer on, in the words of the API: the model's name, the last event, the shape of errors."""

    def __init__(self, send: Send, name: str, path: str) -> None:
        self._send = send
        self._name = json.dumps(name).encode()
        self._start: dict[str, Any] = {}
        self._held = b""
        self._streams = False
        self._last = b"" if path == "/v1/responses" else b"data: [DONE]\n\n"

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            kind = dict(message["headers"]).get(b"content-type", b"")
            self._streams = kind.startswith(b"text/event-stream")
            if self._streams:
                await self._send(message)
            return
        body, more = self._named(message.get("body", b"")), message.get("more_body", False)
        if self._streams:
            await self._send({**message, "body": body if more else body + self._last})
            return
        self._held += body
        if not more:
            await self._whole()

    async def _whole(self) -> None:
        status = self._start["status"]
        if status >= 400:
            await reply(self._send, 400 if status == 422 else status, envelope(status, detail(self._held)))
            return
        headers = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        headers.append((b"content-length", str(len(self._held)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": self._held})

    def _named(self, body: bytes) -> bytes:
        for inside in (INSIDE, f"{INSIDE}@main"):
            body = body.replace(f'"model":"{inside}"'.encode(), b'"model":' + self._name)
        return body


async def body_of(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the client has gone")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_MOST:
            raise Refused(413, "the request is too long")
        if not message.get("more_body", False):
            return b"".join(parts)


def read_object(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Refused(400, "the body is no JSON object")
    return asked


def detail(body: bytes) -> str:
    try:
        told = json.loads(body)
    except ValueError:
        return "the engine failed"
    found = told.get("detail", told.get("error")) if isinstance(told, dict) else None
    return found if isinstance(found, str) else json.dumps(found)


def envelope(status: int, why: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": why, "type": kind, "code": status}}


async def reply(send: Send, status: int, body: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    kind = b"text/plain; version=0.0.4" if isinstance(body, str) else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(text.encode())).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def publish(path: str, address: str) -> None:
    draft = f"{path}.part"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(address)
    os.replace(draft, path)


def bound(uvicorn: Any, listener: socket.socket, address_file: str) -> type:
    """uvicorn's server, on a socket that is there already, without a log of every request."""

    class Server(uvicorn.Server):  # type: ignore[misc]
        def run(self, sockets: Any = None) -> None:
            access = importlib.import_module("logging").getLogger("uvicorn.access")
            access.handlers, access.propagate = [], False
            super().run(sockets=[listener])

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            publish(address_file, "{}:{}".format(*listener.getsockname()[:2]))

        def handle_exit(self, number: int, frame: Any) -> None:
            if number != signal.SIGTERM:
                super().handle_exit(number, frame)

    return Server


def main() -> int:
    asked = arguments()
    # Out of the environment at once, so that no child of ours inherits it.
    secret = os.environ.pop("AI_HOW_REPLICA_SECRET", "")
    if not secret:
        print("AI_HOW_REPLICA_SECRET is not set: refusing to serve without a secret", file=sys.stderr)
        return 78
    if not (Path(asked.model) / "config.json").is_file():
        print(f"failed to load model: {asked.model} has no config.json", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    link = Path(asked.address_file).resolve().with_name(INSIDE)
    link.unlink(missing_ok=True)
    link.symlink_to(Path(asked.model).resolve())
    os.chdir(link.parent)
    listener = socket.create_server((asked.host, 0), backlog=512)
    uvicorn: Any = importlib.import_module("uvicorn")
    server: Any = importlib.import_module("transformers.cli.serving.server")
    serve = importlib.import_module("transformers.cli.serve").Serve
    importlib.import_module("torch").set_num_threads(asked.threads)
    uvicorn.Server = bound(uvicorn, listener, asked.address_file)
    build = server.build_server
    server.build_server = lambda *words, **named: Front(build(*words, **named), secret, asked.alias)
    try:
        serve(force_model=INSIDE, device=asked.device, continuous_batching=asked.batching, model_timeout=-1)
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        print(f"failed to load model: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass  # told to end: uvicorn has closed, and raises it again
    return 0


if __name__ == "__main__":
    sys.exit(main())
