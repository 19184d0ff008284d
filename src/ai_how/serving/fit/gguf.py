"""Reads the metadata in the head of a GGUF file. Pure: bytes in, facts out.

Source of the format: ggml's ``docs/gguf.md`` (versions 2 and 3). Source of the keys: llama.cpp's
``gguf-py/gguf/constants.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

from ai_how.errors import AiHowError
from ai_how.serving.fit.model import Shape

_STRING, _ARRAY = 8, 9
_NUMBERS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
# Longer lists are a tokenizer's.
_LONGEST = 4096


class _Reader:
    """Takes values off a file, and never more than the file has."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.left = size

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise AiHowError("the file is cut off, or is no GGUF file", where=str(self._file.name))
        self.left -= count
        return self._file.read(count)

    def number(self, kind: int) -> Any:
        form = _NUMBERS.get(kind)
        if form is None:
            raise AiHowError(f"the file has a value of an unknown kind ({kind})", where=str(self._file.name))
        return struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self.take(self.number(10)).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """A value; a list that is longer than any about a model's layers is passed over, and its length told."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(kind)
        inner, count = self.number(4), self.number(10)
        if inner == _STRING:
            for _ in range(count):
                self.take(self.number(10))
            return count
        if inner in _NUMBERS and count > _LONGEST:
            self.take(count * struct.calcsize(_NUMBERS[inner]))
            return count
        return [self.number(inner) for _ in range(count)]


def read_metadata(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The metadata of a GGUF file of ``size`` bytes, and how many bytes follow it: the tensors.

    A list of texts, or a very long one, is told by its length alone. Raises :class:`AiHowError` for what is no
    GGUF file, or one of another version.
    """
    reader = _Reader(file, size)
    if reader.take(4) != b"GGUF":
        raise AiHowError(
            "the file is no GGUF file", where=str(file.name),
            todo="Give one, or a Hugging Face folder: `ai-how models convert` makes a GGUF file of such a folder.",
        )  # fmt: skip
    version = reader.number(4)
    if version not in (2, 3):
        raise AiHowError(f"GGUF version {version} is not known here", where=str(file.name))
    reader.number(10)  # how many tensors
    count = reader.number(10)
    return {reader.text(): reader.value(reader.number(4)) for _ in range(count)}, reader.left


def shape(metadata: Mapping[str, Any], weights: int) -> Shape:
    """What the metadata say of a model whose tensors take ``weights`` bytes. Raises :class:`AiHowError`."""
    name = str(metadata.get("general.architecture", ""))

    def of(key: str, otherwise: Any = None) -> Any:
        return metadata.get(f"{name}.{key}", otherwise)

    try:
        layers, width = int(of("block_count")), int(of("embedding_length"))
        heads = _each(of("attention.head_count"), layers)
        groups = _each(of("attention.head_count_kv", of("attention.head_count")), layers)
        usual = width // max(1, *heads)
        both = int(of("attention.key_length", usual)) + int(of("attention.value_length", usual))
        inner = max(_each(of("feed_forward_length", 0), layers))
    except (TypeError, ValueError) as error:
        raise AiHowError(
            f"the file does not tell the size of its model (architecture {name or 'unknown'!r})",
            todo="It may still be served; what it needs cannot be foretold.",
        ) from error
    experts = int(of("expert_used_count", 0)) * int(of("expert_feed_forward_length", 0))
    tokens = metadata.get("tokenizer.ggml.tokens", 0)
    return Shape(
        architecture=name,
        weights=weights,
        cache=tuple(group * both for group in groups),
        width=width,
        inner=max(inner, experts),
        vocabulary=int(of("vocab_size", 0)) or (tokens if isinstance(tokens, int) else len(tokens)),
        context=of("context_length"),
        heads=max(heads),
    )


def _each(value: Any, layers: int) -> list[int]:
    """One number for each layer: most models write it once, some a list."""
    return [int(one) for one in value] if isinstance(value, list) else [int(value)] * layers
