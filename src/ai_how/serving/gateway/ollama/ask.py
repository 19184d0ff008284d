"""From a request in Ollama's words to one in OpenAI's. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from ai_how.run import Clock
from ai_how.serving.gateway.dialect import Asked, compact, parse
from ai_how.serving.gateway.model import Refusal
from ai_how.serving.gateway.ollama.answer import Chat, Embedded, Generate, Pulled, Shown
from ai_how.serving.gateway.ollama.suit import suited
from ai_how.wire.ollama import (
    OllamaAsking,
    OllamaChat,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaGenerate,
    OllamaMessage,
    OllamaPull,
    OllamaRequest,
)

CHAT, COMPLETIONS, EMBEDDINGS, MODELS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
)
# Ollama's options by the name that OpenAI's API, or else llama.cpp, has for them. How a model is loaded
# (num_ctx, num_gpu, num_thread ...) was decided when it was served.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "seed": "seed",
    "stop": "stop",
    "num_keep": "n_keep",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}
# The kinds of image by the first letters of their base64.
_IMAGES = {"/9j/": "jpeg", "iVBORw": "png", "R0lGOD": "gif", "UklGR": "webp"}


def ollama(path: str, body: bytes, served: Container[str], clock: Clock) -> Asked:
    """A request in Ollama's words, for one of the models that are ``served``. Raises :class:`Refusal`."""
    return ASKING[path](body, served, clock)


def _name(request: OllamaRequest, served: Container[str]) -> str:
    """The model meant: Ollama's clients add the tag ``latest`` to a name that has none."""
    return request.model if request.model in served else request.model.removesuffix(":latest")


def _chat(body: bytes, served: Container[str], clock: Clock) -> Asked:
    request = parse(body, OllamaChat)
    model, answering = _name(request, served), Chat(request.model, clock)
    if not request.messages:
        return _loading(model, request, answering)
    asked: dict[str, Any] = {"model": model, "messages": _messages(request.messages)}
    if request.tools:
        asked["tools"] = request.tools
    asked |= _settings(request)
    return _asking(model, CHAT, asked, answering)


def _generate(body: bytes, served: Container[str], clock: Clock) -> Asked:
    request = parse(body, OllamaGenerate)
    model, answering = _name(request, served), Generate(request.model, clock)
    for field in ("suffix", "template", "context"):
        if getattr(request, field):
            raise Refusal(
                400,
                f"{field}: The gateway cannot pass this on to the engine; leave it out.",
                "invalid_request_error",
                "not_supported",
                param=field,
            )
    if not request.prompt:
        return _loading(model, request, answering)
    if request.raw:
        asked = {"model": model, "prompt": request.prompt, **_settings(request)}
        return _asking(model, COMPLETIONS, asked, answering)
    said = [OllamaMessage(role="user", content=request.prompt, images=request.images)]
    if request.system:
        said.insert(0, OllamaMessage(role="system", content=request.system))
    asked = {"model": model, "messages": _messages(said), **_settings(request)}
    return _asking(model, CHAT, asked, answering)


def _loading(model: str, request: OllamaAsking, answering: Chat | Generate) -> Asked:
    """A request without a prompt: it wakes the model, unless it is to unload it."""
    said = answering.loaded(unloads=request.unloads)
    return Asked(model, CHAT, b"", answering, stream=request.streams, at_once=said, wakes=not request.unloads)


def _asking(model: str, path: str, asked: Mapping[str, Any], answering: Chat | Generate) -> Asked:
    return Asked(
        model,
        path,
        compact(asked),
        answering,
        stream=asked.get("stream", False),
        prompt=asked.get("messages") or asked.get("prompt"),
        most=asked.get("max_tokens"),
        suited=lambda engine: compact(suited(asked, engine)),
    )


def _embed(body: bytes, served: Container[str], clock: Clock) -> Asked:
    request = parse(body, OllamaEmbed)
    model = _name(request, served)
    asked: dict[str, Any] = {"model": model, "input": request.input}
    if request.dimensions:
        asked["dimensions"] = request.dimensions
    return Asked(model, EMBEDDINGS, compact(asked), Embedded(request.model, clock), most=0)


def _embeddings(body: bytes, served: Container[str], clock: Clock) -> Asked:
    request = parse(body, OllamaEmbeddings)
    model = _name(request, served)
    asked = compact({"model": model, "input": request.prompt})
    return Asked(model, EMBEDDINGS, asked, Embedded(request.model, clock, single=True), most=0)


def _show(body: bytes, served: Container[str], clock: Clock) -> Asked:
    model = _name(parse(body, OllamaRequest), served)
    return Asked(model, MODELS, b"", Shown(model), method="GET", most=0)


def _pull(body: bytes, served: Container[str], clock: Clock) -> Asked:
    request = parse(body, OllamaPull)
    answering = Pulled()
    return Asked(
        _name(request, served),
        MODELS,
        b"",
        answering,
        stream=request.stream is not False,
        at_once=answering.whole(b""),
        wakes=False,
    )


#: Ollama's paths that are asked of replicas.
ASKING: Mapping[str, Callable[[bytes, Container[str], Clock], Asked]] = {
    "/api/chat": _chat,
    "/api/generate": _generate,
    "/api/embed": _embed,
    "/api/embeddings": _embeddings,
    "/api/show": _show,
    "/api/pull": _pull,
}


def _settings(request: OllamaAsking) -> dict[str, Any]:
    """How the answer is to be made: options, format, thinking, streaming."""
    options = request.options or {}
    found = {ours: options[theirs] for theirs, ours in _OPTIONS.items() if options.get(theirs) is not None}
    most = options.get("num_predict")
    # Below 0 Ollama means: until the model ends by itself, which is what leaving it out means here.
    if isinstance(most, int) and most >= 0:
        found["max_tokens"] = most
    if request.format == "json":
        found["response_format"] = {"type": "json_object"}
    elif isinstance(request.format, dict):
        schema = {"name": "answer", "schema": request.format, "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.think is not None:
        # What chat templates call it: a switch in Qwen's and others, an effort in gpt-oss's.
        found["chat_template_kwargs"] = {"enable_thinking": request.think is not False}
        if isinstance(request.think, str):
            found["reasoning_effort"] = request.think
    if request.streams:
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return found


def _messages(messages: Sequence[OllamaMessage]) -> list[dict[str, Any]]:
    """The messages, with an id for each call of a function: Ollama has none, and OpenAI's API asks for them."""
    open_calls: list[tuple[str, str]] = []  # id and function, until a tool has answered
    made: list[dict[str, Any]] = []
    count = 0
    for message in messages:
        one: dict[str, Any] = {"role": message.role, "content": _content(message)}
        if message.thinking:
            one["reasoning_content"] = message.thinking
        if message.tool_calls:
            calls = [
                (f"call_{count + index}", call.function) for index, call in enumerate(message.tool_calls)
            ]
            count += len(calls)
            open_calls += [(key, function.name) for key, function in calls]
            one["tool_calls"] = [
                {
                    "id": key,
                    "type": "function",
                    "function": {"name": function.name, "arguments": json.dumps(function.arguments)},
                }
                for key, function in calls
            ]
        if message.role == "tool":
            one["tool_call_id"] = _take(open_calls, message.tool_name)
        made.append(one)
    return made


def _take(open_calls: list[tuple[str, str]], function: str | None) -> str:
    """The id of the call that a tool answers: the earliest one of its function, or else the earliest."""
    if not open_calls:
        return "call_0"
    found = next((one for one in open_calls if one[1] == function), open_calls[0])
    open_calls.remove(found)
    return found[0]


def _content(message: OllamaMessage) -> str | list[dict[str, Any]]:
    text = message.content or ""
    if not message.images:
        return text
    return [{"type": "text", "text": text}, *_pictures(message.images)]


def _pictures(images: Iterable[str]) -> Iterable[dict[str, Any]]:
    for image in images:
        kind = next((kind for start, kind in _IMAGES.items() if image.startswith(start)), "png")
        yield {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{image}"}}
