"""Where the real engines come from, and the gateway in front of one."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from door import Door, opened
from launched import start
from login_node import LoginNode, login_node
from tiny_gguf import write_tiny_gguf

from ai_how.host import Environments, Folders
from ai_how.run import LocalGate
from ai_how.serving.engines import LlamaCpp, Place


@pytest.fixture(scope="session")
def llama_python() -> Path:
    """The interpreter of the `llama-cpp` runtime environment, built if need be.

    ``AI_HOW_TEST_LLAMA_PYTHON`` names another.
    """
    named = os.environ.get("AI_HOW_TEST_LLAMA_PYTHON")
    if named:
        return Path(named)
    if importlib.util.find_spec("xllamacpp"):
        return Path(sys.executable)
    return Environments(LocalGate(), Folders.of_user(os.environ)).ensure("llama-cpp") / "bin" / "python"


@pytest.fixture(scope="session")
def transformers_python() -> Path:
    """The interpreter of the `transformers` runtime environment, built if need be."""
    return Environments(LocalGate(), Folders.of_user(os.environ)).ensure("transformers") / "bin" / "python"


@pytest.fixture(scope="session")
def door(llama_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The gateway, with the real engine behind it."""
    site = tmp_path_factory.mktemp("site")
    running = start(LlamaCpp(), Place.of_python(llama_python), write_tiny_gguf(site / "tiny.gguf"), site)
    running.record()
    with opened(site) as door:
        yield door
    running.end()


@pytest.fixture(scope="session")
def login() -> Iterator[LoginNode]:
    """A login node behind a real OpenSSH server."""
    with login_node() as node:
        yield node
