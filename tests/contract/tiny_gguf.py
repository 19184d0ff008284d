"""Makes a GGUF file of 110 kB that llama.cpp loads: one layer of random numbers, single bytes as tokens.

Its answers are random letters of ASCII. Of random bytes some are the beginning of a letter that never ends, which the
engine keeps to itself: of a hundred short answers two would have no text at all.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, INNER, HEADS, CONTEXT = 32, 64, 2, 512
_UINT32, _FLOAT32, _STRING, _ARRAY, _INT32 = 4, 6, 8, 9, 5


def write_tiny_gguf(path: Path, *, context: int = CONTEXT) -> Path:
    """A Llama whose answers are nonsense, but are answers; ``context`` is what it says it was trained for."""
    tokens = [*_byte_letters(), "<|end|>"]
    metadata = b"".join(
        [
            _text("general.architecture", "llama"),
            _text("general.name", "tiny"),
            _number("llama.context_length", context),
            _number("llama.embedding_length", WIDTH),
            _number("llama.block_count", 1),
            _number("llama.feed_forward_length", INNER),
            _number("llama.attention.head_count", HEADS),
            _number("llama.attention.head_count_kv", HEADS),
            _number("llama.rope.dimension_count", WIDTH // HEADS),
            _number("llama.vocab_size", len(tokens)),
            _key("llama.attention.layer_norm_rms_epsilon", _FLOAT32) + struct.pack("<f", 1e-5),
            _text("tokenizer.ggml.model", "gpt2"),
            _text("tokenizer.ggml.pre", "gpt-2"),
            _list("tokenizer.ggml.tokens", _STRING, [_string(token) for token in tokens]),
            _list("tokenizer.ggml.token_type", _INT32, [struct.pack("<i", 1)] * 256 + [struct.pack("<i", 3)]),
            _list("tokenizer.ggml.merges", _STRING, [_string("a b")]),
            _number("tokenizer.ggml.bos_token_id", 256),
            _number("tokenizer.ggml.eos_token_id", 256),
            _text("tokenizer.chat_template", _TEMPLATE),
        ]
    )
    tensors = _tensors(len(tokens))
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), 19)
    table, data = b"", b""
    for name, (shape, values) in tensors.items():
        table += _string(name) + struct.pack("<I", len(shape))
        # GGUF names the fastest dimension first.
        table += b"".join(struct.pack("<Q", size) for size in reversed(shape))
        table += struct.pack("<IQ", 0, len(data))
        data += _aligned(struct.pack(f"<{len(values)}f", *values))
    path.write_bytes(_aligned(head + metadata + table) + data)
    return path


_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def _tensors(vocabulary: int) -> Mapping[str, tuple[tuple[int, ...], list[float]]]:
    dice = random.Random(1)
    square, tall, wide = (WIDTH, WIDTH), (INNER, WIDTH), (WIDTH, INNER)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, WIDTH),
        "output.weight": (vocabulary, WIDTH),
        "output_norm.weight": (WIDTH,),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        "blk.0.attn_q.weight": square,
        "blk.0.attn_k.weight": square,
        "blk.0.attn_v.weight": square,
        "blk.0.attn_output.weight": square,
        "blk.0.ffn_gate.weight": tall,
        "blk.0.ffn_up.weight": tall,
        "blk.0.ffn_down.weight": wide,
    }
    found = {}
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        norm = name.endswith("norm.weight")
        found[name] = (shape, [1.0] * count if norm else [dice.gauss(0, 0.1) for _ in range(count)])
    _speak_ascii({name: values for name, (_, values) in found.items()}, vocabulary)
    return found


def _speak_ascii(values: Mapping[str, list[float]], vocabulary: int) -> None:
    """Let each state begin with the same number, whatever was read, and that number speak for letters alone."""
    for token in range(vocabulary):
        values["token_embd.weight"][token * WIDTH] = 0.5
        values["output.weight"][token * WIDTH] = 20.0 if 32 <= token < 127 else -20.0
    for name, width in (("blk.0.attn_output.weight", WIDTH), ("blk.0.ffn_down.weight", INNER)):
        values[name][:width] = [0.0] * width


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte: printable ones stand for themselves, the rest move past 255."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    moved = iter(range(256, 512))
    return [chr(byte if byte in plain else next(moved)) for byte in range(256)]


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _key(name: str, kind: int) -> bytes:
    return _string(name) + struct.pack("<I", kind)


def _text(name: str, value: str) -> bytes:
    return _key(name, _STRING) + _string(value)


def _number(name: str, value: int) -> bytes:
    return _key(name, _UINT32) + struct.pack("<I", value)


def _list(name: str, kind: int, values: Sequence[bytes]) -> bytes:
    return _key(name, _ARRAY) + struct.pack("<IQ", kind, len(values)) + b"".join(values)


def _aligned(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 32)
