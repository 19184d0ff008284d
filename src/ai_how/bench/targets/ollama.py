"""Ollama's own API: streamed chats."""

from __future__ import annotations

import json

from ai_how.bench.exchange import OllamaExchange
from ai_how.bench.prompts import prompt
from ai_how.bench.targets.chat import Chat
from ai_how.spec.bench import Prompts


def ollama_body(model: str, prompts: Prompts, index: int) -> bytes:
    """Chat request ``index``, streamed. Pure."""
    facts = {
        "model": model,
        "messages": [{"role": "user", "content": prompt(prompts, index)}],
        "stream": True,
        "options": {"num_predict": prompts.max_tokens, "temperature": prompts.temperature},
    }
    return json.dumps(facts).encode()


TARGET = Chat("ollama", "/api/chat", ollama_body, OllamaExchange)
