"""Reads the size of a Hugging Face model: ``config.json`` and the heads of its safetensors files. Pure.

Source: the safetensors format (8 bytes with the length of a JSON object, then that object), and the keys of
``transformers``' configurations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ai_how.errors import AiHowError
from ai_how.serving.fit.model import Shape

HEAD = 8
_FULL = ("F64", "F32")
#: Bytes of a number by its type's name in the format.
_WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "I64": 8, "U64": 8,
}  # fmt: skip
# A head is a few hundred kilobytes; the format's own limit.
_LONGEST = 100_000_000


def head_length(first: bytes) -> int:
    """The length of the JSON object that follows the first 8 bytes. Raises :class:`AiHowError`."""
    length = int.from_bytes(first, "little")
    if len(first) < HEAD or not 2 <= length <= _LONGEST:
        raise AiHowError("the file is no safetensors file")
    return length


def count_numbers(head: bytes) -> int:
    """How many numbers a file's tensors have. Raises :class:`AiHowError`."""
    try:
        tensors = {key: value for key, value in json.loads(head).items() if key != "__metadata__"}
        return sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AiHowError("the head of the safetensors file cannot be read") from error


def count_bytes(head: bytes, full: int) -> int:
    """How many bytes a file's tensors take once they are loaded: as they are stored, but numbers of 32 and 64 bits by
    ``full`` bytes each. What is quantised is stored packed, so its bytes are counted and not its numbers.
    Raises :class:`AiHowError`.
    """
    try:
        tensors = {key: value for key, value in json.loads(head).items() if key != "__metadata__"}
        return sum(
            math.prod(tensor["shape"]) * (full if tensor["dtype"] in _FULL else _WIDTHS[tensor["dtype"]])
            for tensor in tensors.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AiHowError("the head of the safetensors file cannot be read") from error


def full_width(config: Mapping[str, Any]) -> int:
    """The bytes of a number that is stored in 32 bits, as engines load it that go by config.json's type."""
    kind = config.get("torch_dtype", config.get("dtype", config.get("text_config", {}).get("dtype")))
    return 4 if kind in (None, "float32") else 2


def quantisation(config: Mapping[str, Any]) -> str:
    """The method that ``config.json`` names, such as ``awq``, ``gptq``, ``fp8`` or ``bitsandbytes``."""
    found = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config")
    return str(found.get("quant_method", "")) if isinstance(found, dict) else ""


def shape(config: Mapping[str, Any], weights: int) -> Shape:
    """What ``config.json`` says of a model whose weights take so many bytes."""
    text = config.get("text_config", config)
    try:
        layers, width = int(text["num_hidden_layers"]), int(text["hidden_size"])
        heads = int(text["num_attention_heads"])
        groups = int(text.get("num_key_value_heads") or heads)
        each = int(text.get("head_dim") or width // heads)
        return Shape(
            architecture=str(text.get("model_type", "unknown")),
            weights=weights,
            cache=(2 * groups * each,) * layers,
            width=width,
            inner=int(text.get("intermediate_size") or 4 * width),
            vocabulary=int(text["vocab_size"]),
            context=text.get("max_position_embeddings"),
            heads=heads,
            quantisation=quantisation(config),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise AiHowError(
            "config.json does not tell the size of its model",
            todo="It may still be served; what it needs cannot be foretold.",
        ) from error
