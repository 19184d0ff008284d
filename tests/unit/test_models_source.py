"""What somebody calls a model, and what it means; the store; what comes from Ollama's library."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai_how.errors import AiHowError, NotFound, UsageError
from ai_how.models.fetch import fetch_hub, fetch_ollama
from ai_how.models.source import AtPath, InLibrary, OnHub, Registered, parse_source
from ai_how.models.store import Store
from ai_how.run.fake import ScriptedGate

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("digits", Registered("digits")),
        ("digits:3", Registered("digits:3")),
        ("digits@champion", Registered("digits@champion")),
        ("./digits", AtPath(Path("digits"))),
        ("/models/llama", AtPath(Path("/models/llama"))),
        ("tiny.gguf", AtPath(Path("tiny.gguf"))),
        ("hf:gpt2", OnHub("gpt2")),
        ("hf:Qwen/Qwen3-8B", OnHub("Qwen/Qwen3-8B", "main")),
        ("hf:Qwen/Qwen3-8B@v1.0", OnHub("Qwen/Qwen3-8B", "v1.0")),
        ("hf:Qwen/Qwen3-8B@refs/pr/3", OnHub("Qwen/Qwen3-8B", "refs/pr/3")),
        (f"hf:Qwen/Qwen3-8B@{COMMIT}", OnHub("Qwen/Qwen3-8B", COMMIT)),
        ("hf:a/b-GGUF:b-Q4_K_M.gguf", OnHub("a/b-GGUF", "main", "b-Q4_K_M.gguf")),
        ("hf:a/b@v2:sub/b.gguf", OnHub("a/b", "v2", "sub/b.gguf")),
        ("ollama:llama3.2", InLibrary("library", "llama3.2", "latest")),
        ("ollama:llama3.2:1b", InLibrary("library", "llama3.2", "1b")),
        ("ollama:me/mine:x", InLibrary("me", "mine", "x")),
    ],
)
def test_what_a_text_means(text: str, meaning: object) -> None:
    assert parse_source(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:a/b/c",
        "hf:../b",
        "hf:a/b@",
        "hf:a/b@..",
        "hf:a b",
        "ollama:",
        "ollama:a:b:c",
        "ollama:../a",
    ],
)
def test_what_means_nothing_says_how_it_is_written(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text)
    assert caught.value.todo and caught.value.todo.startswith("Write ")


def test_a_bare_name_of_something_that_is_there_is_a_path() -> None:
    assert parse_source("digits", is_there=True) == AtPath(Path("digits"))


def test_names_to_be_served_as() -> None:
    assert (OnHub("a/b").name, OnHub("a/b", file="sub/c-Q4.gguf").name) == ("b", "c-Q4")
    assert InLibrary("library", "a", "1b").served == "a:1b" and InLibrary("me", "a", "x").served == "me/a:x"


def keep(store: Store, source: OnHub, text: str = "{}") -> Path:
    (store.draft_hub(source) / "config.json").write_text(text)
    return store.keep_hub(source, COMMIT)


def test_a_revision_stays_the_commit_that_it_meant(tmp_path: Path) -> None:
    store = Store(tmp_path / "own")
    source = OnHub("a/b", "refs/pr/1")
    assert store.find_hub(source) is None
    folder = keep(store, source)
    assert store.find_hub(source) == store.find_hub(OnHub("a/b", COMMIT)) == folder
    assert store.find_hub(OnHub("a/b")) is None
    assert (folder / "config.json").stat().st_mode & 0o222 == 0
    assert keep(store, source) == folder  # fetched a second time, by another command just then


def test_one_file_of_a_repository_is_kept_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole, one = keep(store, OnHub("a/b")), keep(store, OnHub("a/b", file="x.gguf"))
    assert whole != one and store.find_hub(OnHub("a/b", file="y.gguf")) is None


def test_a_shared_store_is_looked_into_first(tmp_path: Path) -> None:
    theirs = keep(Store(tmp_path / "shared"), OnHub("a/b"))
    store = Store.of(tmp_path / "own", {"AI_HOW_MODEL_STORES": f"/nowhere:{tmp_path}/shared"})
    assert fetch_hub(ScriptedGate(), Path("python"), store, OnHub("a/b"), str) == theirs


def test_offline_the_hub_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for ask in (
        lambda: fetch_hub(ScriptedGate(), Path("python"), Store(tmp_path), OnHub("a/b"), str),
        lambda: fetch_ollama(
            Store(tmp_path), InLibrary("library", "a", "b"), str, address="http://127.0.0.1:9"
        ),
    ):
        with pytest.raises(NotFound, match="is not asked"):
            ask()


class Library(BaseHTTPRequestHandler):
    """Speaks as much of the library's protocol as is needed."""

    parts: dict[str, bytes] = {}
    manifest: bytes = b""
    asked: list[str] = []

    def do_GET(self) -> None:
        Library.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        found = self.manifest if self.path == "/v2/library/tiny/manifests/1b" else self.parts.get(name)
        self.send_response(200 if found is not None else 404)
        self.send_header("content-length", str(len(found or b"")))
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def library() -> Iterator[str]:
    parts = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in (b"{}", b"GGUF and more")}
    config, model = ({"digest": digest, "size": len(data)} for digest, data in parts.items())
    Library.parts, Library.asked = dict(parts), []
    Library.manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": [model]}).encode()
    with ThreadingHTTPServer(("127.0.0.1", 0), Library) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


TINY = InLibrary("library", "tiny", "1b")


def test_a_model_of_ollamas_library_comes_whole_and_once(library: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    said: list[str] = []
    manifest = fetch_ollama(store, TINY, said.append, address=library)
    assert manifest == tmp_path / "ollama/manifests/registry.ollama.ai/library/tiny/1b"
    blobs = sorted((tmp_path / "ollama/blobs").iterdir())
    assert {path.read_bytes() for path in blobs} == {b"{}", b"GGUF and more"}
    assert all(path.stat().st_mode & 0o222 == 0 for path in (manifest, *blobs)) and len(said) == 2
    Library.asked.clear()
    assert fetch_ollama(store, TINY, said.append, address=library) == manifest and Library.asked == []


def test_a_part_that_is_another_is_not_kept(library: str, tmp_path: Path) -> None:
    digest = list(Library.parts)[1]
    Library.parts[digest] = b"something else"
    with pytest.raises(AiHowError, match="not what its digest says"):
        fetch_ollama(Store(tmp_path), TINY, str, address=library)
    assert len(list((tmp_path / "ollama/blobs").iterdir())) == 1 and Store(tmp_path).find_ollama(TINY) is None


def test_a_model_that_is_not_in_the_library(library: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="other:latest could not be fetched"):
        fetch_ollama(Store(tmp_path), InLibrary("library", "other", "latest"), str, address=library)


def test_a_folder_of_ollamas_itself_is_a_shared_store(library: str, tmp_path: Path) -> None:
    theirs = fetch_ollama(Store(tmp_path / "theirs"), TINY, str, address=library)
    assert Store(tmp_path / "own", (tmp_path / "theirs/ollama",)).find_ollama(TINY) == theirs


def test_what_another_process_fetches_of_a_model_is_its_own(library: str, tmp_path: Path) -> None:
    blobs = tmp_path / "ollama/blobs"
    blobs.mkdir(parents=True)
    others = [blobs / f".{digest.replace(':', '-')}.part" for digest in Library.parts]
    for path in others:
        path.write_bytes(b"as far as it has come")
    fetch_ollama(Store(tmp_path), TINY, str, address=library)
    assert all(path.read_bytes() == b"as far as it has come" for path in others)
