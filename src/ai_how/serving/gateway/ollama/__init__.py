"""Ollama's API, translated to and from OpenAI's. Pure."""

from ai_how.serving.gateway.ollama.answer import Chat, Embedded, Generate, Shown
from ai_how.serving.gateway.ollama.ask import ASKING, ollama
from ai_how.serving.gateway.ollama.listing import VERSION, running, tags

__all__ = ["ASKING", "VERSION", "Chat", "Embedded", "Generate", "Shown", "ollama", "running", "tags"]
