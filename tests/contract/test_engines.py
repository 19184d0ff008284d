"""What every engine must do: the real llama.cpp and transformers, fakes that speak what Ollama and vLLM are documented
to answer, and a fake that replays llama.cpp.

Each is started by the replica launcher, as in a Slurm job.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from door import opened
from doubles import FakeEngine
from launched import NONCE, Running, has_ended, start
from programs import fake_place, write_ollama_store
from tiny_folder import write_tiny_folder
from tiny_gguf import write_tiny_gguf

from ai_how.run import wait_until
from ai_how.serving import replica_launcher
from ai_how.serving.engines import (
    Engine,
    LlamaCpp,
    Ollama,
    Place,
    ServeRequest,
    Transformers,
    Vllm,
    read_head,
)
from ai_how.wire import ErrorEnvelope, ModelList


class EngineContract:
    """The tests. A subclass says which engine, and which interpreter runs it."""

    engine: Engine
    #: transformers has no embeddings.
    embeds = True

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> Place:
        return Place.of_python(Path(sys.executable))

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")

    @pytest.fixture(scope="class")
    @classmethod
    def running(
        cls, place: Place, model: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Running]:
        """One replica for the tests that only look."""
        running = start(cls.engine, place, model, tmp_path_factory.mktemp("site"))
        yield running
        status, said = running.end()
        assert status == 0, said

    def test_the_record_says_who_serves_what(self, running: Running) -> None:
        record = running.record()
        assert (record.model, record.engine, record.job_id) == ("tiny", self.engine.name, 42)
        assert (record.host, record.nonce, record.uid) == ("127.0.0.1", NONCE, os.getuid())

    def test_record_secret_and_folder_are_private(self, running: Running) -> None:
        record = running.record()
        folder = running.record_path.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        for name in (record.record_file, record.secret_file):
            assert (folder / name).stat().st_mode & 0o777 == 0o600

    def test_the_secret_is_in_no_argument_list(self, running: Running) -> None:
        secret = (running.record_path.parent / running.record().secret_file).read_text()
        for pid in (running.process.pid, running.child()):
            assert secret not in Path(f"/proc/{pid}/cmdline").read_text()

    def test_the_heartbeat_goes_on(self, running: Running) -> None:
        first = running.record().heartbeat
        wait_until(lambda: running.record().heartbeat > first, what="another heartbeat", timeout=60)

    def test_it_lists_the_model_by_its_name(self, running: Running) -> None:
        with running.client() as client:
            models = ModelList.model_validate_json(client.get("/v1/models").content)
        assert [card.id.removesuffix(":latest") for card in models.data] == ["tiny"]

    def test_it_refuses_strangers(self, running: Running) -> None:
        with running.client(secret="") as client:
            assert client.get("/v1/models").status_code == 401
        with running.client(secret="wrong") as client:
            assert client.post("/v1/chat/completions", json=ASKED).status_code == 401

    def test_it_answers(self, running: Running) -> None:
        with running.client() as client:
            answer = client.post("/v1/chat/completions", json=ASKED).json()
        assert answer["choices"][0]["message"]["role"] == "assistant"
        assert answer["model"] == "tiny"

    def test_it_streams(self, running: Running) -> None:
        with running.client() as client:
            answer = client.post("/v1/chat/completions", json={**ASKED, "stream": True})
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
        assert events[-1] == "[DONE]"
        assert all(json.loads(event)["object"] == "chat.completion.chunk" for event in events[:-1])

    def test_it_completes(self, running: Running) -> None:
        with running.client() as client:
            asked = {"model": "tiny", "prompt": "hi", "max_tokens": 3}
            answer = client.post("/v1/completions", json=asked).json()
        assert answer["choices"][0]["text"] and answer["usage"]["completion_tokens"] == 3

    def test_it_makes_vectors_of_length_one(self, running: Running) -> None:
        with running.client() as client:
            answer = client.post("/v1/embeddings", json={"model": "tiny", "input": ["hi", "you"]}).json()
        if not self.embeds:
            assert "/v1/embeddings" in answer["error"]["message"]
            return
        assert [row["index"] for row in answer["data"]] == [0, 1]
        for row in answer["data"]:
            assert sum(value * value for value in row["embedding"]) == pytest.approx(1, abs=1e-3)

    def test_its_errors_have_the_shape_of_openai(self, running: Running) -> None:
        with running.client() as client:
            answer = client.post(
                "/v1/chat/completions", json={"model": "tiny", "messages": [{"role": "user"}]}
            )
        assert answer.status_code == 400
        assert ErrorEnvelope.model_validate_json(answer.content).error.message

    def test_its_log_tells_nothing_of_what_was_asked(self, running: Running) -> None:
        with running.client() as client:
            for extra in ({}, {"stream": True}, {"temperature": "hot"}, {"grammar": "not a grammar"}):
                messages = [{"role": "user", "content": "a very private prompt"}]
                client.post("/v1/chat/completions", json={**ASKED, "messages": messages, **extra})
        assert "private" not in (running.site / "engine-42.log").read_text()

    def test_the_record_tells_the_load(self, running: Running) -> None:
        load = running.record().load
        assert load is not None and load.running is not None

    def test_one_stream_after_another_on_one_connection(self, running: Running) -> None:
        """As the gateway asks, which keeps its connections: none may be lost to an engine that closes its own."""
        with running.client() as client:
            for _ in range(5):
                with client.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as answer:
                    assert answer.status_code == 200
                    assert [line for line in answer.iter_lines() if line][-1] == "data: [DONE]"


class LifeContract(EngineContract):
    """What begins and ends, with a start for each test."""

    def test_told_to_end_it_takes_its_record_back(self, place: Place, model: Path, tmp_path: Path) -> None:
        running = start(self.engine, place, model, tmp_path)
        running.record()
        engine = running.child()
        status, said = running.end()
        assert (status, list((tmp_path / "endpoints").iterdir())) == (0, []), said
        assert not Path(f"/proc/{engine}").exists()

    def test_when_the_engine_dies_so_does_the_replica(
        self, place: Place, model: Path, tmp_path: Path
    ) -> None:
        running = start(self.engine, place, model, tmp_path)
        running.record()
        os.kill(running.child(), signal.SIGKILL)
        said = running.process.communicate(timeout=60)[1]
        assert running.process.returncode == 128 + signal.SIGKILL
        assert "the engine's last lines" in said
        assert list((tmp_path / "endpoints").iterdir()) == []

    def test_the_engine_never_outlives_its_launcher(self, place: Place, model: Path, tmp_path: Path) -> None:
        running = start(self.engine, place, model, tmp_path)
        running.record()
        engine = running.child()
        running.end(signal.SIGKILL)
        wait_until(lambda: has_ended(engine), what="the engine's end", timeout=60)

    def test_a_file_that_is_no_model(self, place: Place, tmp_path: Path) -> None:
        broken = self.broken(tmp_path)
        assert self.engine.fault(ServeRequest(model="tiny", path=broken), read_head(broken)) is not None
        running = start(self.engine, place, broken, tmp_path / "site")
        said = running.process.communicate(timeout=60)[1]
        assert running.process.returncode not in (0, replica_launcher.NEVER_READY)
        assert "failed to load model" in said
        assert not running.record_path.exists()

    def broken(self, folder: Path) -> Path:
        """A model of the right kind that is none."""
        path = folder / "broken.gguf"
        path.write_bytes(b"nothing of the kind")
        return path

    def test_told_of_its_time_limit_it_says_so_and_goes_on(
        self, place: Place, model: Path, tmp_path: Path
    ) -> None:
        running = start(self.engine, place, model, tmp_path)
        assert not running.record().leaving
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: running.record().leaving, what="the record that says so", timeout=60)
        with running.client() as client:
            assert client.post("/v1/chat/completions", json=ASKED).status_code == 200
        assert running.end()[0] == 0

    def test_an_engine_that_serves_something_else_is_never_ready(
        self, place: Place, model: Path, tmp_path: Path
    ) -> None:
        running = start(self.engine, place, model, tmp_path, expect="another", timeout=1.2)
        said = running.process.communicate(timeout=60)[1]
        assert running.process.returncode == replica_launcher.NEVER_READY
        assert "the engine serves tiny" in said or "another" in said
        assert not running.record_path.exists()


ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


class TestFakeEngine(LifeContract):
    engine = FakeEngine()


class TestLlamaCpp(LifeContract):
    engine = LlamaCpp()

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, llama_python: Path) -> Place:
        return Place.of_python(llama_python)


class TestTransformers(EngineContract):
    """Hugging Face's own server: slow to start, so what all replicas have of the launcher is tested on the others."""

    engine = Transformers()
    embeds = False

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, transformers_python: Path) -> Place:
        return Place.of_python(transformers_python)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_tiny_folder(tmp_path_factory.mktemp("model") / "tiny")

    def test_it_answers_through_the_gateway(self, running: Running) -> None:
        running.record()
        with opened(running.site) as door:
            client = openai.OpenAI(base_url=f"{door.url}/v1", api_key=door.token, max_retries=0)
            whole = client.chat.completions.create(**ASKED)
            pieces = list(client.chat.completions.create(**ASKED, stream=True))
        assert whole.model == "tiny" and whole.usage and whole.usage.completion_tokens == 4
        assert [one.choices[0].finish_reason for one in pieces if one.choices][-1] == "length"

    def test_it_loads_no_other_model_for_anybody(self, running: Running) -> None:
        with running.client() as client:
            assert client.post("/load_model", json={"model": "another"}).status_code == 404
            assert client.post("/v1/chat/completions", json={**ASKED, "model": "another"}).status_code == 404


class Guarded(EngineContract):
    """A fake of a program, behind the guard."""

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Place:
        return fake_place(tmp_path_factory.mktemp("place"), cls.engine.name)

    def test_nobody_reaches_it_but_through_the_guard(self, running: Running) -> None:
        secret = (running.record_path.parent / running.record().secret_file).read_text()
        for pid in running.tree():
            assert secret not in Path(f"/proc/{pid}/cmdline").read_text()
        said = (running.site / "engine-42.log").read_text()
        assert "network of its own" in said
        if "which no other process" in said:
            assert running.network(running.tree()[-1]) != os.readlink("/proc/self/ns/net")

    def test_the_guard_names_the_replica(self, running: Running) -> None:
        with running.client() as client:
            assert client.get("/.ai-how/nonce").json() == {"nonce": NONCE}
        with running.client(secret="wrong") as client:
            assert client.get("/.ai-how/nonce").status_code == 401


class TestOllama(Guarded, LifeContract):
    engine = Ollama()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_ollama_store(tmp_path_factory.mktemp("store") / "ollama")

    def broken(self, folder: Path) -> Path:
        manifest = folder / "store/manifests/registry.ollama.ai/library/broken/latest"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("nothing of the kind")
        return manifest

    def test_its_models_are_links_and_the_store_stays_as_it_was(self, running: Running, model: Path) -> None:
        blobs = running.site / "replica/models/blobs"
        assert all(path.is_symlink() for path in blobs.glob("sha256-[0-9a-f]*"))
        assert (blobs / "sha256-of-its-own").read_bytes() == b"written by Ollama"
        assert not (model.parents[4] / "blobs" / "sha256-of-its-own").exists()

    def test_it_speaks_its_own_api(self, running: Running) -> None:
        with running.client() as client:
            answer = client.post("/api/chat", json={"model": "tiny", "messages": ASKED["messages"]})
        assert [json.loads(line)["done"] for line in answer.text.splitlines()] == [False, True]


class TestVllm(Guarded):
    """Its beginning and end are the guard's, which Ollama's tests see to."""

    engine = Vllm()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_tiny_folder(tmp_path_factory.mktemp("model") / "tiny")

    def test_its_load_is_that_of_its_metrics(self, running: Running) -> None:
        load = running.record().load
        assert load is not None and (load.running, load.waiting, load.cache) == (3, 2, 0.25)
