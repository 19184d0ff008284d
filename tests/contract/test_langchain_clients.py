"""LangChain's own packages for OpenAI and for Ollama, unmodified, against the gateway and the real engine."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from door import Door
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

CLIENT: Any = {"trust_env": False}


class Yes(BaseModel):
    """Whether it is so."""

    yes: bool


@pytest.fixture(scope="module")
def openai(door: Door) -> dict[str, Any]:
    return {
        "model": "tiny",
        "base_url": f"{door.url}/v1",
        "api_key": SecretStr(door.token),
        "max_retries": 0,
        "temperature": 0,  # of random ones many tokens are no text by themselves
        "http_client": httpx.Client(**CLIENT),
        "http_async_client": httpx.AsyncClient(**CLIENT),
    }


@pytest.fixture(scope="module")
def ollama(door: Door) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {door.token}"}
    return {
        "model": "tiny",
        "temperature": 0,
        "base_url": door.url,
        "client_kwargs": {**CLIENT, "headers": headers},
    }


def test_openai_chat(openai: dict[str, Any]) -> None:
    chat = ChatOpenAI(**openai, max_completion_tokens=4)
    answer = chat.invoke("hi")
    assert answer.content and answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 4
    assert answer.response_metadata["finish_reason"] == "length"
    pieces = list(chat.stream("hi"))
    assert len([piece for piece in pieces if piece.content]) > 1


def test_openai_and_ollama_asynchronously(openai: dict[str, Any], ollama: dict[str, Any]) -> None:
    async def pieces() -> list[int]:
        chats = (ChatOpenAI(**openai, max_completion_tokens=4), ChatOllama(**ollama, num_predict=4))
        return [len([piece async for piece in chat.astream("hi") if piece.content]) for chat in chats]

    assert all(count > 1 for count in asyncio.run(pieces()))


def test_openai_structured_output(openai: dict[str, Any]) -> None:
    chat = ChatOpenAI(**openai, max_completion_tokens=60).with_structured_output(Yes, method="json_schema")
    assert isinstance(chat.invoke("hi"), Yes)


def test_openai_completion(openai: dict[str, Any]) -> None:
    assert OpenAI(**openai, max_tokens=3).invoke("hi")


def test_openai_responses(openai: dict[str, Any]) -> None:
    answer = ChatOpenAI(**openai, use_responses_api=True, max_completion_tokens=4).invoke("hi")
    assert answer.usage_metadata is not None and answer.usage_metadata["output_tokens"] == 4


def test_openai_vectors(openai: dict[str, Any]) -> None:
    """Its own check of lengths cuts texts into OpenAI's tokens and would download their table."""
    settings = {key: value for key, value in openai.items() if key != "temperature"}
    vectors = OpenAIEmbeddings(**settings, check_embedding_ctx_length=False)
    one, two = vectors.embed_documents(["hi", "you"])
    assert len(one) == len(two) == 32
    assert vectors.embed_query("hi") == pytest.approx(one, abs=1e-4)


def test_ollama_chat(ollama: dict[str, Any]) -> None:
    chat = ChatOllama(**ollama, num_predict=4)
    answer = chat.invoke("hi")
    assert answer.content and answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 4
    pieces = list(chat.stream("hi"))
    assert len([piece for piece in pieces if piece.content]) > 1


def test_ollama_structured_output(ollama: dict[str, Any]) -> None:
    chat = ChatOllama(**ollama, num_predict=60).with_structured_output(Yes, method="json_schema")
    assert isinstance(chat.invoke("hi"), Yes)


def test_ollama_completion_and_vectors(ollama: dict[str, Any]) -> None:
    assert OllamaLLM(**ollama, num_predict=3).invoke("hi")
    one, two = OllamaEmbeddings(**ollama).embed_documents(["hi", "you"])
    assert len(one) == len(two) == 32
