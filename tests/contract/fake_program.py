"""Stands in for the programs `ollama` and `vllm`: takes their words and variables, and speaks the answers documented.

    python fake_program.py ollama|vllm RECORDED WORDS...

It refuses what the real ones would: unknown words, a model that is not there, a missing variable.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POSTS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embeddings",
    "/api/chat": "api-chat-stream",
    "/api/generate": "load",
    "/slow": "slow",
}
GETS = {"/v1/models": "models", "/api/tags": "tags", "/metrics": "metrics"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    recorded: Path
    #: What vLLM asks for under /v1, and nowhere else.
    key: str | None = None
    #: The last Authorization that was shown, for the tests to ask.
    shown: str | None = None

    #: As servers do that are made for this: no answer waits in the kernel.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/shown":
            self.answer(200, "application/json", json.dumps({"shown": Handler.shown}).encode())
            return
        Handler.shown = self.headers.get("authorization")
        self.replay(GETS.get(self.path, "missing"))

    def do_POST(self) -> None:
        if self.headers.get("transfer-encoding") == "chunked":
            raw = b""
            while size := int(self.rfile.readline(), 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.loads(raw)
        name = POSTS.get(self.path, "missing")
        if name == "slow":
            self.slowly(body["pieces"], body.get("told"))
            return
        if name == "chat" and any("content" not in message for message in body["messages"]):
            name = "bad"
        elif name == "chat" and body.get("stream"):
            name = "stream"
        self.replay(name)

    def slowly(self, pieces: int, told: str | None) -> None:
        """A stream in chunks, one after another; what became of it stands in the file ``told``.

        As llama.cpp's server does, it closes the connection then, without having said so.
        """
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for piece in range(pieces):
                text = f"data: {piece} {time.time()}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                self.wfile.flush()
                time.sleep(0.05)
            self.wfile.write(b"0\r\n\r\n")
            ended = "whole"
        except OSError:
            ended = f"broken after {piece}"
        if told:
            Path(told).write_text(ended)

    def replay(self, name: str) -> None:
        if (
            self.key
            and self.path.startswith("/v1")
            and self.headers.get("authorization") != f"Bearer {self.key}"
        ):
            name = "stranger"
        path = self.recorded / f"{name}.json"
        if not path.exists():
            self.answer(404, "text/plain", b"404 page not found")
            return
        told = json.loads(path.read_text(encoding="utf-8"))
        self.answer(told["status"], told["content_type"], told["body"].encode())

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


def ollama(words: list[str]) -> tuple[str, int]:
    assert words == ["serve"], words
    for name in (
        "OLLAMA_KEEP_ALIVE",
        "OLLAMA_NUM_PARALLEL",
        "OLLAMA_CONTEXT_LENGTH",
        "OLLAMA_NOPRUNE",
        "HOME",
    ):
        assert os.environ[name], name
    assert "AI_HOW_REPLICA_SECRET" not in os.environ
    models = Path(os.environ["OLLAMA_MODELS"])
    manifest = json.loads((models / "manifests/registry.ollama.ai/library/tiny/latest").read_text())
    for layer in (manifest["config"], *manifest["layers"]):
        assert (models / "blobs" / layer["digest"].replace(":", "-")).read_bytes()
    (models / "blobs" / "sha256-of-its-own").write_bytes(b"written by Ollama")
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    return host, int(port)


def vllm(words: list[str]) -> tuple[str, int]:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--served-model-name")
    parser.add_argument("--host")
    for name in ("--port", "--max-model-len", "--max-num-seqs", "--tensor-parallel-size"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--gpu-memory-utilization", type=float)
    asked = parser.parse_args(words)
    if "architectures" not in json.loads((asked.model / "config.json").read_text()):
        raise ValueError("no architectures")
    Handler.key = os.environ["VLLM_API_KEY"]
    assert "AI_HOW_REPLICA_SECRET" not in os.environ
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    return asked.host, asked.port


def main() -> int:
    name, recorded, *words = sys.argv[1:]
    # As programs in Go do, it hears SIGTERM even if that was blocked, and ends at once.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    Handler.recorded = Path(recorded)
    try:
        address = {"ollama": ollama, "vllm": vllm}[name](words)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        print(f"failed to load model: {error!r}", file=sys.stderr)
        return 1
    ThreadingHTTPServer(address, Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
