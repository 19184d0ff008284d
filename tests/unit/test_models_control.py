"""A model is looked for before anything is built to convert it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.errors import NotFound
from ai_how.models.control import Models
from ai_how.services import Layout


class NoModels:
    """MLflow with an empty registry."""

    def find(self, reference: str) -> None:
        raise NotFound(f"there is no model '{reference}'")


def never() -> Path:
    raise AssertionError("the environment that converts was asked for")


@pytest.mark.parametrize("reference", ["absent", "absent:3", "absent@champion", "/nowhere/absent.gguf"])
def test_a_model_that_does_not_exist_builds_nothing(tmp_path: Path, reference: str) -> None:
    registry: Any = NoModels()
    with pytest.raises(NotFound, match="absent"):
        Models(registry, Layout(tmp_path), registry).gguf(reference, never)


def test_a_model_that_is_gguf_already_needs_no_converter(tmp_path: Path) -> None:
    registry: Any = NoModels()
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF")
    assert Models(registry, Layout(tmp_path), registry).gguf(str(file), never).path == file
