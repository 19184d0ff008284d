"""Plain HTTP: one request, one answer."""

from __future__ import annotations

from ai_how.bench.exchange import Exchange
from ai_how.bench.interfaces import Client, Place
from ai_how.bench.loaded import loaded
from ai_how.bench.targets.web import Standing, http_request, wanted_address
from ai_how.bench.work import Work, connections_of
from ai_how.spec.bench import BenchRecipe, Request


class Http:
    """The same request again and again."""

    api = "http"

    def service(self, recipe: BenchRecipe, place: Place) -> Standing:
        return Standing(place)

    def client(self, recipe: BenchRecipe, place: Place) -> Client:
        return loaded(recipe, place, self.work)

    def work(self, recipe: BenchRecipe, place: Place) -> Work:
        asked, address = recipe.workload.request or Request(), wanted_address(place)
        request = http_request(
            asked.method, asked.path, address, asked.body.encode(), place.token, "text/plain"
        )
        connections = connections_of(recipe)
        return Work(address, lambda _: request, Exchange, connections, recipe.timeout, connections)


TARGET = Http()
