"""One request and what became of it: the sample that everything else is computed from. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from ai_how.bench.parse import EventParser, Rubbish

#: What reading an answer raises that is not what it should be: JSON of another shape, numbers that are none.
_NOT_READ = (ValueError, AttributeError, TypeError, LookupError, ArithmeticError, RecursionError)
#: Gaps between events that one answer keeps; longer answers are measured by their first ones.
_GAPS = 4096
#: Tokens that one answer may honestly claim.
_MOST_TOKENS = 100_000_000


@dataclass(slots=True, eq=False)
class Exchange:
    """Times are seconds of one monotonic clock; 0 where it did not come to that.

    ``due`` is when the schedule wanted it, ``woke`` when the generator got round to it, ``sent`` when a connection was
    free and the bytes went out. ``queued`` tells that all connections were in use, ``resent`` that the target had
    closed a connection that it had said it would keep. ``error`` is empty for an answer that is what it should be.
    """

    due: float
    woke: float = 0.0
    sent: float = 0.0
    first: float = 0.0
    done: float = 0.0
    status: int = 0
    error: str = ""
    queued: bool = False
    resent: bool = False

    def body(self, data: bytes, now: float) -> None:
        """A piece of the answer has come."""
        if not self.first:
            self.first = now

    def end(self, now: float) -> None:
        """The answer is whole."""
        self.done = now
        if self.status >= 400:
            self.error = f"status {self.status}"

    @property
    def good(self) -> bool:
        return self.done > 0 and not self.error


@dataclass(slots=True, eq=False)
class ChatExchange(Exchange):
    """A streamed chat completion. ``first`` and ``last`` are the first and the last event that brought text.

    ``tokens`` is what the server says that it used, ``asked_tokens`` what it says that the prompt had, and
    ``cached_tokens`` how many of those it says that it knew from before.
    Events are counted too, and are not taken for tokens: a server may
    send several tokens in one.
    """

    last: float = 0.0
    events: int = 0
    tokens: int | None = None
    asked_tokens: int | None = None
    cached_tokens: int | None = None
    text: list[str] = field(default_factory=list)
    finish: str = ""
    engine: dict[str, float] | None = None
    gaps: list[float] = field(default_factory=list)
    ended: bool = False
    parser: EventParser = field(default_factory=EventParser)

    def body(self, data: bytes, now: float) -> None:
        if self.status != 200 or self.error:
            return
        try:
            for event in self.parser.feed(data):
                self._event(event, now)
        except _NOT_READ:
            self.error = "rubbish in the stream"

    def end(self, now: float) -> None:
        self.done = now
        if self.status != 200:
            self.error = f"status {self.status}"
        elif not self.error and not self.events:
            self.error = "no token in the stream"
        elif not self.error and not self.ended:
            self.error = "stream cut off"

    def _event(self, event: bytes, now: float) -> None:
        if event == b"[DONE]":
            self.ended = True
            return
        facts = json.loads(event)
        if facts.get("error"):
            self.error = "error in the stream"
        if usage := facts.get("usage"):
            self.tokens = _count(usage["completion_tokens"])
            self.asked_tokens = _count(usage.get("prompt_tokens") or 0) or None
            known = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
            self.cached_tokens = None if known is None else _count(known)
        if timings := facts.get("timings"):
            self.engine = {
                name: float(time) for name, time in timings.items() if isinstance(time, int | float)
            }
        for choice in facts.get("choices") or ():
            delta = choice.get("delta") or {}
            if text := delta.get("content") or delta.get("reasoning_content"):
                self._text(text, now)
            if choice.get("finish_reason"):
                self.ended = True
                self.finish = str(choice["finish_reason"])

    def _text(self, text: str, now: float) -> None:
        if not isinstance(text, str):
            raise Rubbish(f"no text: {text!r:.40}")
        self.text.append(text)
        self.events += 1
        if not self.first:
            self.first = now
        elif len(self.gaps) < _GAPS:
            self.gaps.append(now - self.last)
        self.last = now


@dataclass(slots=True, eq=False)
class OllamaExchange(ChatExchange):
    """A chat by Ollama's own API: a line of JSON for each piece, and durations in nanoseconds in the last one."""

    kept: bytes = b""

    def body(self, data: bytes, now: float) -> None:
        if self.status != 200 or self.error:
            return
        *lines, self.kept = (self.kept + data).split(b"\n")
        try:
            for line in filter(None, lines):
                self._line(json.loads(line), now)
        except _NOT_READ:
            self.error = "rubbish in the stream"

    def _line(self, facts: dict[str, Any], now: float) -> None:
        if facts.get("error"):
            self.error = "error in the stream"
            return
        message = facts.get("message") or {}
        if text := message.get("content") or message.get("thinking"):
            self._text(text, now)
        if facts.get("done"):
            self.ended = True
            self.finish = str(facts.get("done_reason") or "stop")
            if (count := facts.get("eval_count")) is not None:
                self.tokens = _count(count)
            self.asked_tokens = _count(facts.get("prompt_eval_count") or 0) or None
            if self.tokens and self.tokens > 1 and facts.get("eval_duration"):
                self.engine = {"predicted_per_token_ms": facts["eval_duration"] / 1e6 / self.tokens}


def _count(told: Any) -> int:
    """A number of tokens. Raises :class:`Rubbish` for what is none."""
    if not isinstance(told, int) or isinstance(told, bool) or not 0 <= told <= _MOST_TOKENS:
        raise Rubbish(f"no number of tokens: {told!r:.40}")
    return told


#: What an answer with vectors says: looked for and not parsed, since vectors are long and their numbers no matter.
_VECTOR = re.compile(rb'"embedding"\s*:')
_ASKED = re.compile(rb'"prompt_tokens"\s*:\s*(\d+)')


@dataclass(slots=True, eq=False)
class VectorExchange(Exchange):
    """Texts that were embedded: ``vectors`` came back, made of ``tokens``; ``wanted`` is one for each text."""

    wanted: int = 1
    vectors: int = 0
    tokens: int | None = None
    pieces: list[bytes] = field(default_factory=list)

    def body(self, data: bytes, now: float) -> None:
        Exchange.body(self, data, now)
        self.pieces.append(data)

    def end(self, now: float) -> None:
        Exchange.end(self, now)
        text = b"".join(self.pieces)
        self.pieces.clear()
        self.vectors = len(_VECTOR.findall(text))
        if found := _ASKED.search(text):
            self.tokens = int(found[1])
        if not self.error and self.vectors != self.wanted:
            self.error = "not a vector for each text" if self.vectors else "no vector in the answer"
