"""LangChain's objects for a site: they find it, reach it and authenticate by themselves, and wake the model.

::

    from ai_how.langchain import ChatAiHow

    chat = ChatAiHow(model="site-facts", site="cluster.yaml")

``site`` is a site's file, or a client that :func:`ai_how.connect` gave, which several objects may share; without it,
and with ``via``, ``url`` and the rest, they are those of :func:`ai_how.connect`. Needs the extra ``langchain``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

try:
    from ai_how.client import langchain as _langchain
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "langchain_core":
        raise
    raise ImportError(
        "ai_how.langchain needs LangChain's core. Install the extra: pip install 'ai-how[langchain]'"
    ) from error

from ai_how.client import SiteClient
from ai_how.errors import UsageError
from ai_how.site.connect import CONNECTING, connect

__all__ = ["AiHowEmbeddings", "AiHowLLM", "ChatAiHow"]


def _connected(given: Any) -> Any:
    """The same arguments, with a connected client in place of those that say how to connect."""
    if not isinstance(given, Mapping) or "client" in given:
        return given
    site = given.get("site")
    how = {key: value for key, value in given.items() if key in CONNECTING}
    rest = {key: value for key, value in given.items() if key not in CONNECTING and key != "site"}
    if not isinstance(site, SiteClient):
        return {**rest, "client": connect(site, **how)}
    if how:
        raise UsageError(
            f"{', '.join(sorted(how))}: the client is connected already", todo="Say it to connect()."
        )
    return {**rest, "client": site}


class ChatAiHow(_langchain.ChatAiHow):
    """A chat model of a site, with streaming, tool calls and structured output, synchronous and asynchronous."""

    _connect = model_validator(mode="before")(_connected)


class AiHowLLM(_langchain.AiHowLLM):
    """A model of a site that goes on with a text, without a chat template."""

    _connect = model_validator(mode="before")(_connected)


class AiHowEmbeddings(_langchain.AiHowEmbeddings):
    """Vectors by a model of a site."""

    _connect = model_validator(mode="before")(_connected)
