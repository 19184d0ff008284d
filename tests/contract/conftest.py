"""Where the real engines come from."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from ai_how.host import Environments, Folders
from ai_how.run import LocalGate


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
