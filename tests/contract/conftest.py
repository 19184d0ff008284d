"""Where the real engines come from."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def llama_python() -> Path:
    """The interpreter of the `llama-cpp` runtime environment; ``AI_HOW_TEST_LLAMA_PYTHON`` names one."""
    named = os.environ.get("AI_HOW_TEST_LLAMA_PYTHON")
    if named:
        return Path(named)
    if importlib.util.find_spec("xllamacpp"):
        return Path(sys.executable)
    pytest.fail("no llama-cpp runtime environment: set AI_HOW_TEST_LLAMA_PYTHON to its python")
