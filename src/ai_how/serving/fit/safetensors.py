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


def shape(config: Mapping[str, Any], numbers: int) -> Shape:
    """What ``config.json`` says of a model with so many ``numbers``, which is converted to 16 bits to be served."""
    text = config.get("text_config", config)
    try:
        layers, width = int(text["num_hidden_layers"]), int(text["hidden_size"])
        heads = int(text["num_attention_heads"])
        groups = int(text.get("num_key_value_heads") or heads)
        each = int(text.get("head_dim") or width // heads)
        return Shape(
            architecture=str(text.get("model_type", "unknown")),
            weights=2 * numbers,
            cache=(2 * groups * each,) * layers,
            width=width,
            inner=int(text.get("intermediate_size") or 4 * width),
            vocabulary=int(text["vocab_size"]),
            context=text.get("max_position_embeddings"),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise AiHowError(
            "config.json does not tell the size of its model",
            todo="It may still be served; what it needs cannot be foretold.",
        ) from error
