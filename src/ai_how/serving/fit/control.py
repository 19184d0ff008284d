"""Opens a model's files to learn its size; nothing but their heads is read."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ai_how.errors import AiHowError, NotFound
from ai_how.serving.fit import gguf, safetensors
from ai_how.serving.fit.model import Shape

_PART = re.compile(r"^(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf$")


def read_shape(path: Path, engine: str = "llama.cpp") -> Shape:
    """The size of a model as ``engine`` loads it: a GGUF file, a folder with ``config.json`` and safetensors files, or
    the manifest of a model of Ollama's.

    A folder is converted to 16 bits for llama.cpp; other engines load what is stored. Raises :class:`NotFound` when it
    is none of them, :class:`AiHowError` when it cannot be read.
    """
    try:
        if path.is_dir():
            return _folder(path, engine)
        return _file(ollama_blob(path) or path)
    except OSError as error:
        raise NotFound(
            f"the model cannot be read: {error.strerror}", where=str(path),
            todo="Give a GGUF file, a Hugging Face folder, or a registered model's name.",
        ) from error  # fmt: skip


def _file(path: Path) -> Shape:
    with path.open("rb") as file:
        metadata, rest = gguf.read_metadata(file, path.stat().st_size)
    if part := _PART.match(path.name):
        # Only the first of several files has the metadata; all have weights.
        parts = path.parent.glob(f"{part['stem']}-[0-9]*-of-{part['count']}.gguf")
        rest += sum(one.stat().st_size for one in parts if one != path)
    return gguf.shape(metadata, rest)


def ollama_blob(manifest: Path) -> Path | None:
    """The GGUF file that a manifest of Ollama's names; None for what is no manifest."""
    if manifest.suffix == ".gguf" or manifest.stat().st_size > 2**20:
        return None
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
        digests = [layer["digest"] for layer in told["layers"] if layer["mediaType"].endswith(".model")]
    except (ValueError, KeyError, TypeError):
        return None
    return manifest.parents[4] / "blobs" / str(digests[0]).replace(":", "-") if digests else None


def _folder(path: Path, engine: str) -> Shape:
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise NotFound(
            "the folder has no safetensors files", where=str(path), todo="Give a GGUF file, or such a folder."
        )
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise AiHowError("config.json is no JSON", where=str(path)) from error
    heads = [_head(file) for file in files]
    if engine in ("llama.cpp", "ollama"):
        return safetensors.shape(config, 2 * sum(map(safetensors.count_numbers, heads)))
    # vLLM loads no number in 32 bits unless told so; transformers goes by config.json.
    full = 2 if engine == "vllm" else safetensors.full_width(config)
    return safetensors.shape(config, sum(safetensors.count_bytes(head, full) for head in heads))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(safetensors.head_length(file.read(safetensors.HEAD)))
