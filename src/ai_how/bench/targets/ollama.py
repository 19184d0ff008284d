"""Ollama's own API: streamed chats."""

from __future__ import annotations

import json

from ai_how.bench.exchange import OllamaExchange
from ai_how.bench.interfaces import Client, Place
from ai_how.bench.loaded import loaded
from ai_how.bench.prompts import prompt
from ai_how.bench.targets.inference import Told
from ai_how.bench.targets.web import Standing, http_request, wanted_address
from ai_how.bench.work import Work, connections_of
from ai_how.spec.bench import BenchRecipe, Prompts


class Ollama:
    """A served model, asked by Ollama's chat."""

    api = "ollama"

    def service(self, recipe: BenchRecipe, place: Place) -> Standing:
        return Standing(place)

    def client(self, recipe: BenchRecipe, place: Place) -> Client:
        return Told(recipe, place, loaded(recipe, place, self.work))

    def work(self, recipe: BenchRecipe, place: Place) -> Work:
        address, model = wanted_address(place), recipe.target.model or ""
        prompts, token = recipe.workload.prompts or Prompts(), place.token

        def ask(index: int) -> bytes:
            body = ollama_body(model, prompts, index)
            return http_request("POST", "/api/chat", address, body, token, "application/json")

        return Work(address, ask, OllamaExchange, connections_of(recipe), recipe.timeout, beforehand=1)


def ollama_body(model: str, prompts: Prompts, index: int) -> bytes:
    """Chat request ``index``, streamed. Pure."""
    facts = {
        "model": model,
        "messages": [{"role": "user", "content": prompt(prompts, index)}],
        "stream": True,
        "options": {"num_predict": prompts.max_tokens, "temperature": prompts.temperature},
    }
    return json.dumps(facts).encode()


TARGET = Ollama()
