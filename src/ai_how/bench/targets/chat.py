"""A served model that is asked by chat: one target for each API that has one, told apart by path and words alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ai_how.bench.exchange import ChatExchange
from ai_how.bench.interfaces import Client, Place, Service
from ai_how.bench.loaded import loaded
from ai_how.bench.targets.inference import Told
from ai_how.bench.targets.web import http_request, model_service, wanted_address
from ai_how.bench.work import Work, connections_of
from ai_how.spec.bench import BenchRecipe, Prompts


@dataclass(frozen=True)
class Chat:
    """``body`` words request number N for a model; an ``exchange`` reads the answer to one."""

    api: str
    path: str
    body: Callable[[str, Prompts, int], bytes]
    exchange: type[ChatExchange]

    def service(self, recipe: BenchRecipe, place: Place) -> Service:
        return model_service(recipe, place)

    def client(self, recipe: BenchRecipe, place: Place) -> Client:
        return Told(recipe, place, loaded(recipe, place, self.work))

    def work(self, recipe: BenchRecipe, place: Place) -> Work:
        address, model = wanted_address(place), recipe.target.model or ""
        prompts, token = recipe.workload.prompts or Prompts(), place.token

        def ask(index: int) -> bytes:
            body = self.body(model, prompts, index)
            return http_request("POST", self.path, address, body, token, "application/json")

        # Engines give a thread to each connection, to an idle one too: those opened beforehand could hold all of them.
        return Work(address, ask, self.exchange, connections_of(recipe), recipe.timeout, beforehand=1)
