"""Retrieval-augmented answers end to end: embed the question, find what fits, ask the model with it.

Documents are made by a seeded generator and embedded by the served model before the load. The search is exact, over all
of them, in this process: what a vector store takes for it is measured by the target `retrieval`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import httpx
import numpy as np

from ai_how.bench.calls import Call, carried_by
from ai_how.bench.exchange import Exchange
from ai_how.bench.interfaces import Heard, Measured, Place, Service
from ai_how.bench.load import LoadClient
from ai_how.bench.prompts import prompt
from ai_how.bench.targets.driven import seconds_histogram
from ai_how.bench.targets.vectors import Doubles
from ai_how.bench.targets.web import model_service, wanted_address
from ai_how.bench.work import Work, connections_of
from ai_how.errors import CouldNotTell, UsageError
from ai_how.spec.bench import BenchRecipe, Prompts
from ai_how.spec.bench_workloads import Chain as Asked

T = TypeVar("T")
#: Texts embedded by one request beforehand.
_BATCH = 16
STAGES = ("embed", "search", "first_answer_token", "answer")


class Rag:
    """A served model that embeds and answers."""

    api = "chain"

    def service(self, recipe: BenchRecipe, place: Place) -> Service:
        return model_service(recipe, place)

    def client(self, recipe: BenchRecipe, place: Place) -> ChainClient:
        return ChainClient(recipe, place)


class ChainClient(LoadClient):
    """The load core over calls; each call is a whole chain, and tells how long its stages took."""

    def __init__(self, recipe: BenchRecipe, place: Place) -> None:
        if recipe.load.generators > 1 or recipe.load.nodes:
            raise UsageError(
                "a chain is asked by one process", todo="Leave `load.processes` and `load.nodes` out."
            )
        self._chain = Chained(recipe, place)
        super().__init__(recipe, place, self._chain.work)

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        self._chain.stages.clear()
        self._chain.fill()
        found = super().run(number, heard)
        stages = list(self._chain.stages)
        return replace(
            found,
            busy=None,  # the calls are threads of this process: there is no generator to calibrate
            histograms={name: seconds_histogram([one[name] for one in stages]) for name in STAGES},
            notes={"documents": len(self._chain.documents), "search": "exact, in the client's process"},
        )


class Chained:
    """The documents with their vectors, and one chain."""

    def __init__(self, recipe: BenchRecipe, place: Place) -> None:
        self._recipe, self._place = recipe, place
        self._asked = recipe.workload.chain or Asked()
        kind = Prompts(words=self._asked.words, spread=0.0, seed=self._asked.seed)
        self.documents = [prompt(kind, index) for index in range(self._asked.documents)]
        self.stages: list[dict[str, float]] = []
        self._vectors: Doubles | None = None
        self._lock = threading.Lock()

    def work(self, recipe: BenchRecipe, place: Place) -> Work:
        most = connections_of(recipe)
        kind = Prompts(words=8, seed=self._asked.seed + 1)
        return Work(
            wanted_address(place), lambda index: prompt(kind, index).encode(), Exchange, most, recipe.timeout, most,
            carrier=carried_by(self._caller, most),
        )  # fmt: skip

    def _client(self) -> httpx.Client:
        token = self._place.token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        address = wanted_address(self._place)
        return httpx.Client(
            base_url=address.url, headers=headers, trust_env=False, timeout=self._recipe.timeout,
            verify=address.context or True,
        )  # fmt: skip

    def fill(self) -> None:
        """Embed every document, once. Raises :class:`CouldNotTell` where the model embeds nothing."""
        if self._vectors is not None:
            return
        try:
            with self._client() as client:
                rows = [
                    row
                    for first in range(0, len(self.documents), _BATCH)
                    for row in again(partial(self._embed, client, self.documents[first : first + _BATCH]))
                ]
        except (httpx.HTTPError, KeyError, ValueError) as error:
            raise CouldNotTell(
                "the model embeds nothing", where=str(self._place.address), cause=str(error)
            ) from error
        self._vectors = np.asarray(rows, dtype=np.float64)

    def _embed(self, client: httpx.Client, texts: list[str]) -> list[list[float]]:
        model = self._asked.embedding_model or self._recipe.target.model
        answer = client.post("/v1/embeddings", json={"model": model, "input": texts})
        answer.raise_for_status()
        return [one["embedding"] for one in answer.json()["data"]]

    def _caller(self) -> Call:
        client = self._client()
        return lambda question: self._once(client, question.decode())

    def _once(self, client: httpx.Client, question: str) -> None:
        begun = time.monotonic()
        (vector,) = again(lambda: self._embed(client, [question]))
        embedded = time.monotonic()
        found = self._search(np.asarray(vector))
        searched = time.monotonic()
        first = again(lambda: self._answer(client, question, found))
        done = time.monotonic()
        took = {"embed": embedded - begun, "search": searched - embedded, "first_answer_token": first - searched,
                "answer": done - searched}  # fmt: skip
        with self._lock:
            self.stages.append(took)

    def _search(self, vector: Doubles) -> list[str]:
        assert self._vectors is not None
        distances = ((self._vectors - vector) ** 2).sum(axis=1)
        return [self.documents[int(at)] for at in np.argsort(distances)[: self._asked.k]]

    def _answer(self, client: httpx.Client, question: str, found: list[str]) -> float:
        """Ask with what was found; the instant of the first token. Raises for an answer that is none."""
        text = "\n".join([*found, "", question])
        body: Mapping[str, Any] = {
            "model": self._recipe.target.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self._asked.max_tokens,
            "temperature": 0.0,
            "stream": True,
        }
        first = 0.0
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if not first and line.startswith("data: {") and _has_text(line[6:]):
                    first = time.monotonic()
        if not first:
            raise ValueError("no token in the answer")
        return first


def again(act: Callable[[], T]) -> T:
    """Once more where the target closed a kept connection before it saw the request; the time goes on.

    Engines do so that say ``keep-alive`` and close after a stream; every client asks again then.
    """
    try:
        return act()
    except httpx.RemoteProtocolError:
        return act()


def _has_text(line: str) -> bool:
    choices = json.loads(line).get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return bool(delta.get("content") or delta.get("reasoning_content"))


TARGET = Rag()
