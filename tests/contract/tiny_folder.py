"""Writes a Hugging Face folder: a Llama of random weights with a tokenizer of bytes, so small that it loads at once."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path

WIDTH, INNER, HEADS, VOCABULARY, CONTEXT = 16, 32, 2, 258, 256
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


def letters() -> list[str]:
    """The 256 letters by which byte-level tokenizers write bytes, as GPT-2 chose them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def shapes() -> dict[str, tuple[int, ...]]:
    layer = "model.layers.0."
    return {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
        "lm_head.weight": (VOCABULARY, WIDTH),
        f"{layer}input_layernorm.weight": (WIDTH,),
        f"{layer}post_attention_layernorm.weight": (WIDTH,),
        **{f"{layer}self_attn.{one}_proj.weight": (WIDTH, WIDTH) for one in "qkvo"},
        f"{layer}mlp.gate_proj.weight": (INNER, WIDTH),
        f"{layer}mlp.up_proj.weight": (INNER, WIDTH),
        f"{layer}mlp.down_proj.weight": (WIDTH, INNER),
    }


def write_tiny_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(0)
    head, data = {}, bytearray()
    for name, shape in shapes().items():
        count = math.prod(shape)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *(dice.gauss(0, 0.5) for _ in range(count)))
    text = json.dumps(head).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    texts = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH,
            "intermediate_size": INNER, "num_hidden_layers": 1, "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS, "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT,
            "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "float32", "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False, "hidden_act": "silu",
        },
        "generation_config.json": {"bos_token_id": 256, "eos_token_id": 257},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
            "chat_template": TEMPLATE, "model_max_length": CONTEXT,
        },
        "tokenizer.json": {
            "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
            "added_tokens": [
                {"id": 256 + place, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": True}
                for place, token in enumerate(("<s>", "</s>"))
            ],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {
                "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                "vocab": {letter: place for place, letter in enumerate(letters())}, "merges": [],
            },
        },
    }  # fmt: skip
    for name, value in texts.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder
