"""What an engine other than llama.cpp is asked, where a client of Ollama's set more than OpenAI's API knows. Pure.

Sources: vLLM's ``SamplingParams``; Ollama's ``openai/openai.go``; transformers' ``cli/serving``, which refuses a
request with a field that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Fields that only llama.cpp has, or llama.cpp and vLLM.
_BEYOND = frozenset(
    {
        "top_k", "min_p", "typical_p", "n_keep", "repeat_last_n", "repeat_penalty", "mirostat", "mirostat_tau",
        "mirostat_eta",
    }
)  # fmt: skip


def suited(asked: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """The request in the words of ``engine``; what that has no word for is left out, as Ollama itself does."""
    match engine:
        case "vllm":
            return {"repetition_penalty" if key == "repeat_penalty" else key: asked[key] for key in asked}
        case "ollama":
            return _for_ollama(asked)
        case "transformers":
            raw = "prompt" in asked
            return {
                key: asked[key]
                for key in asked
                if key not in _BEYOND and not (raw and key in ("chat_template_kwargs", "reasoning_effort"))
            }
        case _:
            return dict(asked)


def _for_ollama(asked: Mapping[str, Any]) -> dict[str, Any]:
    left = {key: asked[key] for key in asked if key not in _BEYOND and key != "chat_template_kwargs"}
    if asked.get("chat_template_kwargs", {}).get("enable_thinking") is False:
        left["reasoning_effort"] = "none"
    return left
