"""LangChain's objects over the client: chat model, LLM, embeddings. Needs the extra ``langchain``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.messages.utils import convert_to_openai_messages
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.base import BaseOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, GenerationChunk
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from ai_how.client.control import SiteClient
from ai_how.client.model import ChatAnswer, Piece, Usage
from ai_how.errors import CouldNotTell

#: Texts a request: the gateway's limit on a body is far away, and one failure costs little.
BATCH = 64


#: A name that is written wrongly must not pass for a setting. Said in each class: LangChain's own bases say otherwise.
_STRICT = ConfigDict(arbitrary_types_allowed=True, extra="forbid")


class _Options(BaseModel):
    """What the chat model and the LLM share."""

    model_config = _STRICT

    client: SkipValidation[SiteClient] = Field(exclude=True, repr=False)
    """The connected client that is asked."""
    model: str
    """The served model's name."""
    temperature: float | None = None
    """0 is the same answer each time; None leaves it to the engine."""
    max_tokens: int | None = None
    """The longest answer, in tokens."""
    stop: list[str] | None = None
    """Texts at which an answer ends."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Whatever else the engine understands, such as ``top_p`` or ``seed``."""

    def _told(self, stop: list[str] | None, more: Mapping[str, Any]) -> dict[str, Any]:
        """The model and the engine's options; those of a call before those of the object."""
        told = {"temperature": self.temperature, "max_tokens": self.max_tokens, "stop": stop or self.stop}
        given = {key: value for key, value in told.items() if value is not None}
        return {"model": self.model, **given, **self.options, **more}


class ChatAiHow(_Options, BaseChatModel):
    """A chat model of the site, with streaming, tool calls and structured output, synchronous and asynchronous."""

    model_config = _STRICT

    @property
    def _llm_type(self) -> str:
        return "ai-how-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"url": self.client.url, **self._told(None, {})}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(self.client.chat(messages=_said(messages), **self._told(stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async with self.client.asynchronous as site:
            return _result(await site.chat(messages=_said(messages), **self._told(stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        told = self._streamed(stop, kwargs)
        for piece in self.client.pieces(messages=_said(messages), **told):
            chunk = _chunk(piece, told["model"])
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        told = self._streamed(stop, kwargs)
        async with self.client.asynchronous as site:
            async for piece in site.pieces(messages=_said(messages), **told):
                chunk = _chunk(piece, told["model"])
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk

    def _streamed(self, stop: list[str] | None, more: Mapping[str, Any]) -> dict[str, Any]:
        return {"stream_options": {"include_usage": True}, **self._told(stop, more)}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools. ``tool_choice`` is ``auto``, ``none``, ``any``, or one tool's name."""
        choice: Any = "required" if tool_choice == "any" else tool_choice
        if choice is not None and choice not in ("auto", "none", "required"):
            choice = {"type": "function", "function": {"name": choice}}
        chosen = {} if choice is None else {"tool_choice": choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **chosen, **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Have answers of a schema: pydantic's models come back as such, JSON schemas and typed dicts as dicts.

        The schema binds the engine as ``response_format``; llama.cpp and vLLM can write nothing else then.
        """
        wanted = convert_to_json_schema(schema)
        asked = {"name": wanted.get("title", "answer"), "schema": wanted}
        # LangChain's own tracers look for the second.
        traced = {"kwargs": {"method": "json_schema"}, "schema": wanted}
        model = self.bind(
            response_format={"type": "json_schema", "json_schema": asked},
            ls_structured_output_format=traced,
            **kwargs,
        )
        parser: BaseOutputParser[Any] = JsonOutputParser()
        if isinstance(schema, type) and is_basemodel_subclass(schema):
            parser = PydanticOutputParser(pydantic_object=schema)
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(
            parsed=lambda found: parser.invoke(found["raw"]), parsing_error=lambda _: None
        )
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")


class AiHowLLM(_Options, LLM):
    """A model of the site that goes on with a text, without a chat template."""

    model_config = _STRICT

    @property
    def _llm_type(self) -> str:
        return "ai-how"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"url": self.client.url, **self._told(None, {})}

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        return self.client.complete(prompt=prompt, **self._told(stop, kwargs)).text

    async def _acall(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        async with self.client.asynchronous as site:
            return (await site.complete(prompt=prompt, **self._told(stop, kwargs))).text

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        for piece in self.client.complete_pieces(prompt=prompt, **self._told(stop, kwargs)):
            if run_manager:
                run_manager.on_llm_new_token(piece.text)
            yield GenerationChunk(text=piece.text)

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        async with self.client.asynchronous as site:
            async for piece in site.complete_pieces(prompt=prompt, **self._told(stop, kwargs)):
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text)
                yield GenerationChunk(text=piece.text)


class AiHowEmbeddings(BaseModel, Embeddings):
    """Vectors by a model of the site."""

    model_config = _STRICT

    client: SkipValidation[SiteClient] = Field(exclude=True, repr=False)
    """The connected client that is asked."""
    model: str
    """The served model's name."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        found = [self.client.embed(self.model, batch).vectors for batch in _batches(texts)]
        return [list(vector) for vectors in found for vector in vectors]

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        async with self.client.asynchronous as site:
            found = [(await site.embed(self.model, batch)).vectors for batch in _batches(texts)]
        return [list(vector) for vectors in found for vector in vectors]

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return (await self.aembed_documents([text]))[0]


# --- between LangChain's shapes and ours --------------------------------------------------------------


def _batches(texts: list[str]) -> Iterable[list[str]]:
    return (texts[at : at + BATCH] for at in range(0, len(texts), BATCH))


def _said(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    found = convert_to_openai_messages(messages)
    return found if isinstance(found, list) else [found]


def _result(answer: ChatAnswer) -> ChatResult:
    good, bad = [], []
    for call in answer.tool_calls:
        try:
            good.append(tool_call(name=call.name, args=call.parsed(), id=call.id))
        except CouldNotTell as error:
            bad.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=error.message)
            )
    message = AIMessage(
        content=answer.text,
        tool_calls=good,
        invalid_tool_calls=bad,
        usage_metadata=_usage(answer.usage),
        additional_kwargs=_thought(answer.reasoning),
        response_metadata={"model_name": answer.model, "finish_reason": answer.finish_reason},
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(piece: Piece, model: str) -> ChatGenerationChunk:
    calls = [
        tool_call_chunk(name=part.name, args=part.arguments, id=part.id, index=part.index)
        for part in piece.tool_calls
    ]
    ended = {"model_name": model, "finish_reason": piece.finish_reason} if piece.finish_reason else {}
    message = AIMessageChunk(
        content=piece.text,
        tool_call_chunks=calls,
        usage_metadata=_usage(piece.usage),
        additional_kwargs=_thought(piece.reasoning),
        response_metadata=ended,
    )
    return ChatGenerationChunk(message=message)


def _thought(reasoning: str) -> dict[str, Any]:
    return {"reasoning_content": reasoning} if reasoning else {}


def _usage(usage: Usage | None) -> UsageMetadata | None:
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
