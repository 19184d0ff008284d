"""The llama.cpp engine's process, as far as it decides anything by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.serving.engines.llama_cpp_server import names_pooling, publish


@pytest.mark.parametrize(("key", "names"), [(b"bert.pooling_type", True), (b"llama.context_length", False)])
def test_a_model_that_says_how_its_vectors_are_made_is_left_alone(
    tmp_path: Path, key: bytes, names: bool
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + b"\0" * 20 + key + b"\0" * 100_000 + b"x.pooling_type")
    assert names_pooling(str(tmp_path / "model.gguf")) is names


def test_an_address_is_never_seen_half_written(tmp_path: Path) -> None:
    publish(str(tmp_path / "address"), "127.0.0.1:4000")
    assert [path.name for path in tmp_path.iterdir()] == ["address"]
    assert (tmp_path / "address").read_text() == "127.0.0.1:4000"
