"""Embeddings by OpenAI's API: texts and tokens a second."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

from ai_how.bench.exchange import VectorExchange
from ai_how.bench.interfaces import Client, Measured, Place, Service
from ai_how.bench.loaded import Around, loaded
from ai_how.bench.model import Value
from ai_how.bench.prompts import prompt
from ai_how.bench.targets.web import http_request, model_service, wanted_address
from ai_how.bench.work import Work, connections_of
from ai_how.spec.bench import BenchRecipe, Prompts
from ai_how.spec.bench_workloads import Texts as Asked


class Embeddings:
    """A served model that makes vectors of texts."""

    api = "embeddings"

    def service(self, recipe: BenchRecipe, place: Place) -> Service:
        return model_service(recipe, place)

    def client(self, recipe: BenchRecipe, place: Place) -> Counted:
        return Counted(recipe.workload.texts or Asked(), loaded(recipe, place, self.work))

    def work(self, recipe: BenchRecipe, place: Place) -> Work:
        address, token = wanted_address(place), place.token
        asked, model = recipe.workload.texts or Asked(), recipe.target.model or ""

        def ask(index: int) -> bytes:
            body = json.dumps({"model": model, "input": texts(asked, index)}).encode()
            return http_request("POST", "/v1/embeddings", address, body, token, "application/json")

        exchange = partial(VectorExchange, wanted=asked.batch)
        return Work(address, ask, exchange, connections_of(recipe), recipe.timeout, beforehand=1)


def texts(asked: Asked, index: int) -> list[str]:
    """The texts of request ``index``: none is ever asked twice. Pure."""
    kind = Prompts(words=asked.words, spread=asked.spread, seed=asked.seed)
    return [prompt(kind, index * asked.batch + number) for number in range(asked.batch)]


class Counted(Around):
    """The load core, with texts and tokens a second."""

    def __init__(self, asked: Asked, inner: Client) -> None:
        super().__init__(inner)
        self._asked = asked

    def more(self, found: Measured) -> Measured:
        good = [one for one in found.exchanges if one.good]
        values = {"texts": Value(value=len(good) * self._asked.batch / found.seconds, unit="1/s")}
        vectors = [one for one in good if isinstance(one, VectorExchange) and one.tokens is not None]
        if good and len(vectors) == len(good):
            total = sum(one.tokens or 0 for one in vectors)
            values["tokens"] = Value(value=total / found.seconds, unit="tokens/s")
        return replace(found, values=values)


TARGET = Embeddings()
