"""What is fetched by the real huggingface_hub, from a hub of our own that speaks as much of its API as that takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai_how.errors import NotFound
from ai_how.models.fetch import fetch_hub
from ai_how.models.source import OnHub
from ai_how.models.store import Store
from ai_how.run import LocalGate

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"architectures": ["A"]}',
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "a-Q4.gguf": b"GGUF",
}


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        headers = {"x-repo-commit": COMMIT}
        if path.startswith("/api/models/org/tiny"):
            siblings = [{"rfilename": name} for name in FILES]
            tree = [
                {"type": "file", "path": name, "size": len(FILES[name]), "oid": "0" * 40} for name in FILES
            ]
            facts: object = {"id": "org/tiny", "sha": COMMIT, "siblings": siblings, "tags": []}
            body = json.dumps(tree if "/tree/" in path else facts).encode()
            headers["content-type"] = "application/json"
        else:
            found = (
                FILES.get(path.rpartition("/")[2])
                if path.startswith(f"/org/tiny/resolve/{COMMIT}/")
                else None
            )
            if found is None:
                headers["x-error-code"] = "RepoNotFound"
            body = found or b""
            headers["etag"] = f'"{hashlib.sha256(body).hexdigest()}"'
        self.send_response(404 if "x-error-code" in headers else 200)
        for name, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield
        server.shutdown()


def test_a_repository_comes_at_one_commit_and_without_pickles(
    hub: None, transformers_python: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    folder = fetch_hub(LocalGate(), transformers_python, store, OnHub("org/tiny"), str)
    assert folder == tmp_path / "hub/org--tiny" / COMMIT == store.find_hub(OnHub("org/tiny"))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    one = fetch_hub(LocalGate(), transformers_python, store, OnHub("org/tiny", file="a-Q4.gguf"), str)
    assert [path.name for path in one.iterdir()] == ["a-Q4.gguf"]


def test_a_repository_that_is_not_there(hub: None, transformers_python: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="could not be fetched") as caught:
        fetch_hub(LocalGate(), transformers_python, Store(tmp_path), OnHub("org/other"), str)
    assert "Traceback" not in (caught.value.detail or "")
    assert Store(tmp_path).find_hub(OnHub("org/other")) is None
