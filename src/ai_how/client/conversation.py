"""A conversation with one model: what was said so far goes with every question."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from ai_how.client.model import ChatAnswer

if TYPE_CHECKING:
    from ai_how.client.asynchronous import AsyncSiteClient
    from ai_how.client.control import SiteClient


class Transcript:
    """What was said. A question stays only with an answer to it, if only a part of one."""

    def __init__(self, model: str, options: Mapping[str, Any]) -> None:
        self.model = model
        self.options = {key: value for key, value in options.items() if key != "system"}
        self.messages: list[Mapping[str, Any]] = []
        if system := options.get("system"):
            self.messages.append({"role": "system", "content": str(system)})

    def forget(self) -> None:
        """Begin anew; the system's message stays."""
        del self.messages[1 if self.messages[:1] and self.messages[0]["role"] == "system" else 0 :]

    def _with(self, text: str) -> list[Mapping[str, Any]]:
        return [*self.messages, {"role": "user", "content": text}]

    def _keep(self, said: list[Mapping[str, Any]], answer: str) -> None:
        if answer:
            self.messages = [*said, {"role": "assistant", "content": answer}]


class Conversation(Transcript):
    """A conversation through the synchronous client; ``system`` among the options is the system's message."""

    def __init__(self, client: SiteClient, model: str, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        self._client = client

    def say(self, text: str) -> ChatAnswer:
        """Say something, and have the whole answer. Raises like :meth:`SiteClient.chat`."""
        said = self._with(text)
        answer: ChatAnswer = self._client.chat(self.model, said, **self.options)
        self._keep(said, answer.text)
        return answer

    def stream(self, text: str) -> Iterator[str]:
        """Say something, and have the answer in pieces; of one that is left or breaks off, what came is kept."""
        said = self._with(text)
        came: list[str] = []
        try:
            with closing(self._client.pieces(self.model, said, **self.options)) as pieces:
                for piece in pieces:
                    came.append(piece.text)
                    if piece.text:
                        yield piece.text
        finally:
            self._keep(said, "".join(came))


class AsyncConversation(Transcript):
    """A conversation through the asynchronous client."""

    def __init__(self, client: AsyncSiteClient, model: str, options: Mapping[str, Any]) -> None:
        super().__init__(model, options)
        self._client = client

    async def say(self, text: str) -> ChatAnswer:
        """Say something, and have the whole answer. Raises like :meth:`SiteClient.chat`."""
        said = self._with(text)
        answer: ChatAnswer = await self._client.chat(self.model, said, **self.options)
        self._keep(said, answer.text)
        return answer

    async def stream(self, text: str) -> AsyncIterator[str]:
        """Say something, and have the answer in pieces; of one that is left or breaks off, what came is kept."""
        said = self._with(text)
        came: list[str] = []
        try:
            async with aclosing(self._client.pieces(self.model, said, **self.options)) as pieces:
                async for piece in pieces:
                    came.append(piece.text)
                    if piece.text:
                        yield piece.text
        finally:
            self._keep(said, "".join(came))
