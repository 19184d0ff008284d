"""OpenAI's API: streamed chat completions."""

from __future__ import annotations

import json

from ai_how.bench.exchange import ChatExchange
from ai_how.bench.interfaces import Client, Place
from ai_how.bench.loaded import loaded
from ai_how.bench.prompts import prompt
from ai_how.bench.targets.inference import Told
from ai_how.bench.targets.web import Standing, http_request, wanted_address
from ai_how.bench.work import Work, connections_of
from ai_how.spec.bench import BenchRecipe, Prompts


class OpenAI:
    """A served model, asked by chat."""

    api = "openai"

    def service(self, recipe: BenchRecipe, place: Place) -> Standing:
        return Standing(place)

    def client(self, recipe: BenchRecipe, place: Place) -> Client:
        return Told(recipe, place, loaded(recipe, place, self.work))

    def work(self, recipe: BenchRecipe, place: Place) -> Work:
        address, model = wanted_address(place), recipe.target.model or ""
        prompts, token = recipe.workload.prompts or Prompts(), place.token

        def ask(index: int) -> bytes:
            body = chat_body(model, prompts, index)
            return http_request("POST", "/v1/chat/completions", address, body, token, "application/json")

        # Engines give a thread to each connection, to an idle one too: those opened beforehand could hold all of them.
        return Work(address, ask, ChatExchange, connections_of(recipe), recipe.timeout, beforehand=1)


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


TARGET = OpenAI()
