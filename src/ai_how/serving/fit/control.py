"""Opens a model's files to learn its size; nothing but their heads is read."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ai_how.errors import AiHowError, NotFound
from ai_how.serving.fit import gguf, safetensors
from ai_how.serving.fit.model import Shape

_PART = re.compile(r"^(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf$")


def read_shape(path: Path) -> Shape:
    """The size of a model: a GGUF file, or a folder with ``config.json`` and safetensors files.

    Raises :class:`NotFound` when it is neither, :class:`AiHowError` when it cannot be read.
    """
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        raise NotFound(f"the model cannot be read: {error.strerror}", where=str(path)) from error


def _file(path: Path) -> Shape:
    with path.open("rb") as file:
        metadata, rest = gguf.read_metadata(file, path.stat().st_size)
    if part := _PART.match(path.name):
        # Only the first of several files has the metadata; all have weights.
        parts = path.parent.glob(f"{part['stem']}-[0-9]*-of-{part['count']}.gguf")
        rest += sum(one.stat().st_size for one in parts if one != path)
    return gguf.shape(metadata, rest)


def _folder(path: Path) -> Shape:
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise NotFound(
            "the folder has no safetensors files", where=str(path), todo="Give a GGUF file, or such a folder."
        )
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise AiHowError("config.json is no JSON", where=str(path)) from error
    return safetensors.shape(config, sum(_numbers(file) for file in files))


def _numbers(path: Path) -> int:
    with path.open("rb") as file:
        length = safetensors.head_length(file.read(safetensors.HEAD))
        return safetensors.count_numbers(file.read(length))
