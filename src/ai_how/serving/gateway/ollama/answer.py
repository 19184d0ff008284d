"""From an answer in OpenAI's words to one in Ollama's, whole or as it streams. Pure but for the clock."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ai_how.run import Clock
from ai_how.serving.gateway.dialect import Malformed, compact
from ai_how.serving.gateway.model import Refusal
from ai_how.wire.events import DONE, EventReader

NDJSON = "application/x-ndjson"
Facts = dict[str, Any]


def stamp(seconds: float) -> str:
    """A time as Ollama writes it: RFC 3339, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


class _Answer(ABC):
    """What whole answers and streams of chat and generate have in common."""

    stream_type = NDJSON
    # Blanks before the JSON of the first line: every client reads over them, while an empty line stops some.
    breath = b" "

    def __init__(self, model: str, clock: Clock) -> None:
        self._model = model
        self._clock = clock
        self._began = clock.monotonic()
        self._events = EventReader()
        self._calls: dict[int, Facts] = {}
        self._reason: str | None = None
        self._tail: Facts = {}
        self._done = False

    @abstractmethod
    def _say(self, text: str, thinking: str, calls: list[Facts]) -> Facts:
        """The part of an answer that holds what the model said."""

    def loaded(self, *, unloads: bool = False) -> bytes:
        """The answer to a request that asks for nothing: the model is loaded, as every served model is.

        To one that ``unloads`` it, as well: that it is kept nevertheless is its owner's affair.
        """
        return self._line(self._say("", "", []), done=True, done_reason="unload" if unloads else "load")

    def whole(self, body: bytes) -> bytes:
        answer = _object(body)
        try:
            choice = answer["choices"][0]
            said = choice.get("message") or {"content": choice.get("text")}
            text, thinking = said.get("content") or "", _thinking(said)
            calls = [_call(one["function"]) for one in said.get("tool_calls") or ()]
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Malformed("an answer without a choice") from error
        return self._line(
            self._say(text, thinking, calls),
            done=True,
            done_reason=choice.get("finish_reason") or "stop",
            **self._figures(answer),
        )

    def piece(self, chunk: bytes) -> bytes:
        try:
            return b"".join(self._event(data) for data in self._events.feed(chunk) if not self._done)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Malformed("an event of another shape") from error

    def end(self) -> bytes:
        if not self._done:
            raise Malformed("a stream without an end")
        return b""

    def broken(self, refusal: Refusal) -> bytes:
        self._done = True
        return refusal.body("ollama") + b"\n"

    def _event(self, data: str) -> bytes:
        if data == DONE:
            self._done = True
            reason = self._reason or "stop"
            return self._line(
                self._say("", "", []), done=True, done_reason=reason, **self._figures(self._tail)
            )
        event = _object(data.encode())
        if "error" in event:
            raise Malformed("an error in the middle of a stream")
        self._tail |= {key: event[key] for key in ("usage", "timings") if event.get(key)}
        choice = next(iter(event.get("choices") or ()), None)
        return self._choice(choice) if isinstance(choice, dict) else b""

    def _choice(self, choice: Facts) -> bytes:
        said = choice.get("delta") or {"content": choice.get("text")}
        self._gather(said.get("tool_calls") or ())
        lines = b""
        text, thinking = said.get("content") or "", _thinking(said)
        if text or thinking:
            lines += self._line(self._say(text, thinking, []), done=False)
        if choice.get("finish_reason"):
            self._reason = choice["finish_reason"]
            if self._calls:
                calls = [_call(self._calls[index]) for index in sorted(self._calls)]
                lines += self._line(self._say("", "", calls), done=False)
                self._calls.clear()
        return lines

    def _gather(self, parts: Any) -> None:
        """Calls come in fragments; Ollama sends each whole."""
        for part in parts:
            call = self._calls.setdefault(part.get("index", 0), {"name": "", "arguments": ""})
            function = part.get("function") or {}
            call["name"] += function.get("name") or ""
            call["arguments"] += function.get("arguments") or ""

    def _line(self, said: Facts, **more: Any) -> bytes:
        facts = {"model": self._model, "created_at": stamp(self._clock.now()), **said, **more}
        if facts.get("done_reason") == "tool_calls":
            facts["done_reason"] = "stop"  # Ollama has no word of its own for it
        return compact(facts) + b"\n"

    def _figures(self, answer: Mapping[str, Any]) -> Facts:
        """Counts in tokens; durations in nanoseconds, the engine's where it tells them."""
        usage, timings = answer.get("usage") or {}, answer.get("timings") or {}
        total = int((self._clock.monotonic() - self._began) * 1e9)
        return {
            "total_duration": total,
            "load_duration": 0,
            "prompt_eval_count": usage.get("prompt_tokens", timings.get("prompt_n", 0)),
            "prompt_eval_duration": int(timings.get("prompt_ms", 0) * 1e6),
            "eval_count": usage.get("completion_tokens", timings.get("predicted_n", 0)),
            "eval_duration": int(timings["predicted_ms"] * 1e6) if "predicted_ms" in timings else total,
        }


class Chat(_Answer):
    """The answers of ``/api/chat``."""

    def _say(self, text: str, thinking: str, calls: list[Facts]) -> Facts:
        message: Facts = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if calls:
            message["tool_calls"] = [{"function": call} for call in calls]
        return {"message": message}


class Generate(_Answer):
    """The answers of ``/api/generate``."""

    def _say(self, text: str, thinking: str, calls: list[Facts]) -> Facts:
        return {"response": text, **({"thinking": thinking} if thinking else {})}


class _Whole:
    """An answer that never streams."""

    stream_type = NDJSON
    breath = b" "

    def piece(self, chunk: bytes) -> bytes:
        raise Malformed("a stream where none was asked for")

    def end(self) -> bytes:
        return b""

    def broken(self, refusal: Refusal) -> bytes:
        return refusal.body("ollama")


class Pulled(_Whole):
    """The answer of ``/api/pull`` for a model that is served: it is here already."""

    def whole(self, body: bytes) -> bytes:
        return compact({"status": "success"}) + b"\n"


class Embedded(_Whole):
    """The answers of ``/api/embed``, and of the older ``/api/embeddings`` with its ``single`` vector."""

    def __init__(self, model: str, clock: Clock, *, single: bool = False) -> None:
        self._model = model
        self._clock = clock
        self._began = clock.monotonic()
        self._single = single

    def whole(self, body: bytes) -> bytes:
        answer = _object(body)
        try:
            rows = sorted(answer["data"], key=lambda row: row.get("index", 0))
            vectors = [row["embedding"] for row in rows]
            if self._single:
                return compact({"embedding": vectors[0]})
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Malformed("an answer without vectors") from error
        return compact(
            {
                "model": self._model,
                "embeddings": vectors,
                "total_duration": int((self._clock.monotonic() - self._began) * 1e9),
                "load_duration": 0,
                "prompt_eval_count": (answer.get("usage") or {}).get("prompt_tokens", 0),
            }
        )


class Shown(_Whole):
    """The answer of ``/api/show``, from the engine's own list of its models."""

    def __init__(self, model: str) -> None:
        self._model = model

    def whole(self, body: bytes) -> bytes:
        try:
            cards = _object(body)["data"]
            card = next((one for one in cards if one["id"] == self._model), cards[0])
            meta = dict(card.get("meta") or {})
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise Malformed("a list of models without one") from error
        return compact(self._facts(card, meta))

    def unseen(self, state: str) -> bytes:
        """What can be told of a model that has no replica to ask: that there is one, and how it is."""
        return compact(self._facts({}, {}) | {"state": state})

    def _facts(self, card: Mapping[str, Any], meta: Mapping[str, Any]) -> Facts:
        named = {
            "general.parameter_count": meta.get("n_params"),
            "ai_how.context_length": meta.get("n_ctx_train") or card.get("max_model_len"),
            "ai_how.embedding_length": meta.get("n_embd"),
            "ai_how.vocab_size": meta.get("n_vocab"),
        }
        info: Facts = {"general.architecture": "ai_how", "general.basename": self._model}
        return {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": details(),
            "model_info": info | {key: value for key, value in named.items() if value is not None},
            "capabilities": ["completion"],
        }


def details() -> Facts:
    """What Ollama tells of a model's file. A gateway that sees endpoints, not files, leaves it open."""
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": None,
        "parameter_size": "",
        "quantization_level": "",
    }


def _thinking(said: Mapping[str, Any]) -> str:
    """llama.cpp calls it ``reasoning_content``, Ollama ``reasoning``; vLLM has had both."""
    return said.get("reasoning_content") or said.get("reasoning") or ""


def _object(body: bytes) -> Facts:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Malformed("no JSON") from error
    if not isinstance(found, dict):
        raise Malformed("no JSON object")
    return found


def _call(function: Mapping[str, Any]) -> Facts:
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError as error:
        raise Malformed("a call whose arguments are no JSON") from error
    return {"name": function.get("name", ""), "arguments": arguments}
