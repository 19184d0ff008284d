"""Our own clients, the gateway's process and the real engine; the same questions to both of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from door import Door

from ai_how.client import AsyncSiteClient, ChatAnswer, Embeddings, Piece, SiteClient
from ai_how.errors import NotFound
from ai_how.run import wait_until

#: Of random tokens many are no text by themselves.
FEW: Any = {"max_tokens": 4, "temperature": 0}
LONG: Any = {"max_tokens": 100_000, "ignore_eos": True}


class Synchronous:
    """The synchronous client, as it is."""

    def __init__(self, door: Door) -> None:
        self.site = SiteClient(door.url, door.token)

    def chat(self, text: str, **options: Any) -> ChatAnswer:
        return self.site.chat("tiny", text, **options)

    def pieces(self, text: str, **options: Any) -> list[Piece]:
        return list(self.site.pieces("tiny", text, **options))

    def first_piece(self, text: str, **options: Any) -> Piece:
        stream = self.site.pieces("tiny", text, **options)
        found = next(stream)
        stream.close()
        return found

    def complete(self, text: str, **options: Any) -> ChatAnswer:
        return self.site.complete("tiny", text, **options)

    def embed(self, texts: list[str]) -> Embeddings:
        return self.site.embed("tiny", texts)

    def models(self) -> list[str]:
        return [card.id for card in self.site.models().data]

    def wake(self, model: str) -> None:
        self.site.wake(model)


class Asynchronous:
    """The asynchronous client, a client a question."""

    def __init__(self, door: Door) -> None:
        self.door = door

    def ask(self, question: Callable[[AsyncSiteClient], Coroutine[Any, Any, Any]]) -> Any:
        async def asked() -> Any:
            async with AsyncSiteClient(self.door.url, self.door.token) as site:
                return await question(site)

        return asyncio.run(asked())

    def chat(self, text: str, **options: Any) -> ChatAnswer:
        async def question(site: AsyncSiteClient) -> ChatAnswer:
            return await site.chat("tiny", text, **options)

        found: ChatAnswer = self.ask(question)
        return found

    def pieces(self, text: str, **options: Any) -> list[Piece]:
        async def question(site: AsyncSiteClient) -> list[Piece]:
            return [piece async for piece in site.pieces("tiny", text, **options)]

        found: list[Piece] = self.ask(question)
        return found

    def first_piece(self, text: str, **options: Any) -> Piece:
        async def question(site: AsyncSiteClient) -> Piece:
            stream = site.pieces("tiny", text, **options)
            found = await anext(stream)
            await stream.aclose()
            return found

        found: Piece = self.ask(question)
        return found

    def complete(self, text: str, **options: Any) -> ChatAnswer:
        found: ChatAnswer = self.ask(lambda site: site.complete("tiny", text, **options))
        return found

    def embed(self, texts: list[str]) -> Embeddings:
        found: Embeddings = self.ask(lambda site: site.embed("tiny", texts))
        return found

    def models(self) -> list[str]:
        return [card.id for card in self.ask(lambda site: site.models()).data]

    def wake(self, model: str) -> None:
        self.ask(lambda site: site.wake(model))


@pytest.fixture(params=[Synchronous, Asynchronous])
def client(request: pytest.FixtureRequest, door: Door) -> Iterator[Any]:
    yield request.param(door)


def test_a_whole_answer(client: Synchronous) -> None:
    answer = client.chat("hi", **FEW)
    assert answer.text and answer.finish_reason == "length" and answer.model
    assert answer.usage is not None and answer.usage.completion_tokens == 4


def test_a_stream_with_its_usage(client: Synchronous) -> None:
    pieces = client.pieces("hi", **FEW, stream_options={"include_usage": True})
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == ["length"]
    assert [piece.usage.completion_tokens for piece in pieces if piece.usage] == [4]
    assert len([piece for piece in pieces if piece.text]) > 1


def test_a_completion(client: Synchronous) -> None:
    answer = client.complete("hi", max_tokens=3)
    assert answer.usage is not None and answer.usage.completion_tokens == 3


def test_vectors(client: Synchronous) -> None:
    one, two, again = client.embed(["hi", "you", "hi"]).vectors
    assert len(one) == 32 and one == pytest.approx(again, abs=1e-4) and one != two


def test_models_and_a_model_that_needs_no_waking(client: Synchronous) -> None:
    assert client.models() == ["tiny"]
    client.wake("tiny")
    with pytest.raises(NotFound, match="Did you mean 'tiny'"):
        client.wake("tinny")


def test_a_stream_that_is_left_frees_the_engine(client: Synchronous, door: Door) -> None:
    before = left_behind(door)
    assert client.first_piece("hi", **LONG).finish_reason is None
    wait_until(lambda: left_behind(door) > before, what="the gateway noticing", timeout=60)
    assert client.chat("hi", max_tokens=1).finish_reason == "length"


def test_a_task_that_is_cancelled_frees_the_engine(door: Door) -> None:
    before = left_behind(door)

    async def cancelled() -> None:
        async with AsyncSiteClient(door.url, door.token) as site:
            began = asyncio.Event()

            async def consume() -> None:
                async for _ in site.pieces("tiny", "hi", **LONG):
                    began.set()

            task = asyncio.ensure_future(consume())
            await asyncio.wait_for(began.wait(), 60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (
                await asyncio.wait_for(site.chat("tiny", "hi", max_tokens=1), 60)
            ).finish_reason == "length"

    asyncio.run(cancelled())
    wait_until(lambda: left_behind(door) > before, what="the gateway noticing", timeout=60)


def left_behind(door: Door) -> int:
    """How many clients the gateway has noticed that went away, of other tests' too."""
    return door.log.read_text().count('"status": 499')
