"""One request and what became of it: the sample that everything else is computed from. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from ai_how.bench.parse import EventParser, Rubbish

#: Gaps between events that one answer keeps; longer answers are measured by their first ones.
_GAPS = 4096


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

    ``tokens`` is what the server says that it used. Events are counted too, and are not taken for tokens: a server may
    send several tokens in one.
    """

    last: float = 0.0
    events: int = 0
    tokens: int | None = None
    gaps: list[float] = field(default_factory=list)
    ended: bool = False
    parser: EventParser = field(default_factory=EventParser)

    def body(self, data: bytes, now: float) -> None:
        if self.status != 200 or self.error:
            return
        try:
            for event in self.parser.feed(data):
                self._event(event, now)
        except (Rubbish, ValueError, AttributeError, TypeError):
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
            self.tokens = int(usage["completion_tokens"])
        for choice in facts.get("choices") or ():
            delta = choice.get("delta") or {}
            if delta.get("content") or delta.get("reasoning_content"):
                self._text(now)
            if choice.get("finish_reason"):
                self.ended = True

    def _text(self, now: float) -> None:
        self.events += 1
        if not self.first:
            self.first = now
        elif len(self.gaps) < _GAPS:
            self.gaps.append(now - self.last)
        self.last = now
