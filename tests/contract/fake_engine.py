"""An engine that serves nothing but recorded answers. Standard library only, like the real one's."""

from __future__ import annotations

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def handler(recorded: Path, secret: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.replay({"/metrics": "metrics"}.get(self.path, "models"))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            name = {"/v1/completions": "completion", "/v1/embeddings": "embeddings"}.get(self.path, "chat")
            if name == "chat" and any("content" not in message for message in body["messages"]):
                name = "bad"
            elif body.get("stream"):
                name = "stream" if name == "chat" else f"{name}-stream"
            self.replay(name)

        def replay(self, name: str) -> None:
            if self.headers.get("authorization") != f"Bearer {secret}":
                name = "stranger"
            answer = json.loads((recorded / f"{name}.json").read_text(encoding="utf-8"))
            body = answer["body"].encode()
            self.send_response(answer["status"])
            self.send_header("content-type", answer["content_type"])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recorded", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    if asked.model.read_bytes()[:4] != b"GGUF":
        print("failed to load model", file=sys.stderr)
        return 1
    secret = os.environ["FAKE_SECRET"]
    ThreadingHTTPServer(("127.0.0.1", asked.port), handler(asked.recorded, secret)).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
