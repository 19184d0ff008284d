"""Engines by runtime environment, run for real: a `llama-server` of somebody else's in a folder, and in images by
Apptainer and by Podman.

As in a Slurm job, the replica launcher starts each.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from launched import start
from newer_debian import apptainer, llama_server, newer_root, podman, podman_image
from test_engines import EngineContract

from ai_how.serving.engines import LlamaCpp, Place

#: `llama-server` makes vectors beside text when it is told so by these.
VECTORS = {"LLAMA_ARG_EMBEDDINGS": "1", "LLAMA_ARG_POOLING": "mean"}


class Outside(EngineContract):
    """An engine that AI-HOW did not build. Nothing of it may be left, however its replica ends."""

    engine = LlamaCpp()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def vectors(cls) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in VECTORS.items():
                patch.setenv(name, value)
            yield

    @pytest.mark.parametrize("how", ["told", "launcher killed", "guard killed"])
    def test_nothing_of_it_is_left(self, place: Place, model: Path, tmp_path: Path, how: str) -> None:
        mine = tmp_path / "mine.gguf"
        shutil.copy(model, mine)
        running = start(self.engine, place, mine, tmp_path / "site")
        running.record()
        assert len(using(mine)) >= 2, "the guard's words and the engine's name it"
        if how == "told":
            status, said = running.end()
            assert status == 0, said
        else:
            victim = running.process.pid if how == "launcher killed" else running.child()
            os.kill(victim, signal.SIGKILL)
            running.process.communicate(timeout=60)
        deadline = time.monotonic() + 60
        while left := using(mine):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def using(model: Path) -> dict[int, str]:
    """The processes whose words name a model."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(model) in words:
            found[int(file.parent.name)] = words
    return found


class TestFolder(Outside):
    """Its own program, behind the guard."""

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Place:
        return Place(sys.executable, at=str(llama_server(tmp_path_factory.mktemp("place"))))

    def test_slurms_word_to_all_of_the_job_ends_no_stream(
        self, place: Place, model: Path, tmp_path: Path
    ) -> None:
        running = start(self.engine, place, model, tmp_path, context=16384, linger=60)
        asked = {"model": "tiny", "prompt": "hi", "max_tokens": 8000, "ignore_eos": True, "stream": True}
        with running.client() as client, client.stream("POST", "/v1/completions", json=asked) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.end_all()
            running.end_all()
            assert [line for line in lines if line][-1] == "data: [DONE]"
        said = running.process.communicate(timeout=60)[1]
        assert running.process.returncode == 0, said


class TestApptainer(Outside):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        program = next(apptainer(tmp_path_factory.mktemp("apptainer")).glob("[as][pi][pn]*"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AI_HOW_APPTAINER", str(program))  # the batch script finds it
            yield Place(sys.executable, "apptainer", str(newer_root()), options=("--no-home",))


class TestPodman(Outside):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> Iterator[Place]:
        # A container is told of no variable but its engine's.
        options = tuple(f"--env={name}={value}" for name, value in VECTORS.items())
        with podman() as programs, pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", str(programs), prepend=os.pathsep)
            yield Place(sys.executable, "podman", podman_image(programs), options=options)
