"""OpenAI's API: streamed chat completions."""

from __future__ import annotations

import json

from ai_how.bench.exchange import ChatExchange
from ai_how.bench.prompts import prompt
from ai_how.bench.targets.chat import Chat
from ai_how.spec.bench import Prompts


def chat_body(model: str, prompts: Prompts, index: int) -> bytes:
    """Chat request ``index``: streamed, and asked to say at its end how many tokens it took."""
    facts = {
        "model": model,
        "messages": [{"role": "user", "content": prompt(prompts, index)}],
        "max_tokens": prompts.max_tokens,
        "temperature": prompts.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(facts).encode()


TARGET = Chat("openai", "/v1/chat/completions", chat_body, ChatExchange)
