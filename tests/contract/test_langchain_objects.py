"""Our LangChain objects against the gateway: chains, streams, tool calls, structured output, vectors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest
from door import Door
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel, ValidationError

from ai_how import connect
from ai_how.client import SiteClient
from ai_how.errors import NotFound, UsageError
from ai_how.langchain import AiHowEmbeddings, AiHowLLM, ChatAiHow


class Yes(BaseModel):
    """Whether it is so."""

    yes: bool


@pytest.fixture(scope="module")
def how(door: Door) -> dict[str, Any]:
    return {"model": "tiny", "url": door.url, "token": door.token}


@pytest.fixture(scope="module")
def chat(how: dict[str, Any]) -> ChatAiHow:
    return ChatAiHow(**how, temperature=0, max_tokens=4)


def test_a_chain(chat: ChatAiHow) -> None:
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{asked}")]) | chat
    answer = chain.invoke({"asked": "hi"})
    assert answer.content and answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 4
    assert answer.response_metadata["finish_reason"] == "length"
    assert len(chain.batch([{"asked": "hi"}, {"asked": "you"}])) == 2


def test_a_stream_adds_up_to_the_answer(chat: ChatAiHow) -> None:
    whole = None
    for piece in chat.stream("hi"):
        whole = piece if whole is None else whole + piece
    assert whole is not None and whole.content == chat.invoke("hi").content
    assert whole.usage_metadata is not None and whole.usage_metadata["output_tokens"] == 4
    assert whole.response_metadata == {"model_name": "tiny", "finish_reason": "length"}


def test_asynchronously_in_one_loop_after_another(chat: ChatAiHow) -> None:
    async def both() -> tuple[Any, str]:
        pieces = [str(piece.content) async for piece in chat.astream("hi")]
        return (await chat.ainvoke("hi")).content, "".join(pieces)

    for _ in range(2):
        whole, streamed = asyncio.run(both())
        assert whole == streamed != ""


def test_structured_output(how: dict[str, Any]) -> None:
    chat = ChatAiHow(**how, temperature=0, max_tokens=60)
    assert isinstance(chat.with_structured_output(Yes).invoke("hi"), Yes)
    schema = {
        "title": "answer",
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
    }
    found = chat.with_structured_output(schema).invoke("hi")
    assert isinstance(found, dict) and set(found) == {"n"}
    raw = chat.with_structured_output(Yes, include_raw=True).invoke("hi")
    assert isinstance(raw, dict) and isinstance(raw["parsed"], Yes) and raw["parsing_error"] is None
    cut = ChatAiHow(**how, max_tokens=1).with_structured_output(Yes, include_raw=True).invoke("hi")
    assert isinstance(cut, dict) and cut["parsed"] is None and cut["parsing_error"] is not None


def test_an_llm(how: dict[str, Any]) -> None:
    llm = AiHowLLM(**how, max_tokens=4, options={"grammar": 'root ::= "yes"'})
    whole = llm.invoke("hi")
    assert whole == "yes" and "".join(llm.stream("hi")) == whole

    async def both() -> tuple[str, str]:
        return await llm.ainvoke("hi"), "".join([piece async for piece in llm.astream("hi")])

    assert asyncio.run(both()) == (whole, whole)


def test_a_vector_store(how: dict[str, Any]) -> None:
    vectors = AiHowEmbeddings(**how)
    store = InMemoryVectorStore(vectors)
    store.add_texts(["the cluster has four nodes", "zzz"])
    assert (
        store.similarity_search("the cluster has four nodes", k=1)[0].page_content
        == "the cluster has four nodes"
    )
    assert asyncio.run(vectors.aembed_query("hi")) == pytest.approx(vectors.embed_query("hi"), abs=1e-4)
    assert len(vectors.embed_documents(["hi"] * 65)) == 65


def test_objects_may_share_a_client(door: Door) -> None:
    with connect(url=door.url, token=door.token) as site:
        chat = ChatAiHow(model="tiny", site=site, max_tokens=1)
        assert chat.client is site and AiHowEmbeddings(model="tiny", site=site).client is site
        assert isinstance(site, SiteClient) and chat.invoke("hi").response_metadata["model_name"]


def test_what_is_wrong_is_said(how: dict[str, Any], chat: ChatAiHow) -> None:
    with pytest.raises(ValidationError, match="temprature"):
        ChatAiHow(**how, temprature=0)
    with pytest.raises(UsageError, match="timeout: the client is connected already"):
        ChatAiHow(model="tiny", site=chat.client, timeout=5)
    with pytest.raises(NotFound, match="Did you mean 'tiny'"):
        chat.invoke("hi", model="tinny")  # a model for one call
    assert how["token"] not in repr(chat) + str(chat.model_dump()) + str(chat._identifying_params)


def test_tools_are_offered_and_a_call_that_is_none_is_kept_apart() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        calls = [
            {"id": "1", "function": {"name": "add", "arguments": '{"a": 1}'}},
            {"id": "2", "function": {"name": "add", "arguments": "{"}},
        ]
        message = {"content": None, "tool_calls": calls}
        return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": "tool_calls"}]})

    def add(a: int) -> int:
        """Add."""
        return a

    site = SiteClient("http://g", "t", transport=httpx.MockTransport(answer))
    chat = ChatAiHow(model="tiny", site=site)
    found = [chat.bind_tools([add], tool_choice=choice).invoke("hi") for choice in (None, "any", "add")]
    assert [call["args"] for call in found[0].tool_calls] == [{"a": 1}]
    assert [call["id"] for call in found[0].invalid_tool_calls] == ["2"]
    assert {body["tools"][0]["function"]["name"] for body in asked} == {"add"}
    named = {"type": "function", "function": {"name": "add"}}
    assert [body.get("tool_choice") for body in asked] == [None, "required", named]


def test_without_langchain_the_extra_is_named() -> None:
    """In a process of its own: a module that is half there would be seen by every later test."""
    program = "import sys; sys.modules['langchain_core'] = None; import ai_how.langchain"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ImportError: ai_how.langchain needs LangChain's core" in done.stderr
    assert "pip install 'ai-how[langchain]'" in done.stderr
