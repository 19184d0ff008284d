"""Counts the tokens of an answer by what the engine itself says of them, as the answer passes by.

Nothing is held back but the rest of a line that has not wholly come, with which no client can do anything: where the
engine breaks off there, an error can follow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ai_how.serving.gateway.dialect import Malformed
from ai_how.wire.events import LONGEST

_USAGE = b'"usage"'
# A string cannot hold these characters: its own quotation marks are escaped.
_KEY = re.compile(rb'"usage"\s*:\s*(?=\{)')
# What a count has at most.
_USAGE_BYTES = 4096
_DECODER = json.JSONDecoder()


class Count:
    """The tokens of one request. ``told``: the engine has said so; otherwise they are estimated from what was seen.

    ``cached`` is how many of those read came from the engine's cache. ``began``: an answer has begun; ``failed``: it
    came to no good end.
    """

    __slots__ = ("began", "cached", "completion", "estimate", "failed", "pieces", "prompt", "told")

    def __init__(self, estimate: int) -> None:
        self.estimate = estimate
        self.prompt = self.completion = self.cached = self.pieces = 0
        self.told = self.began = self.failed = False

    def take(self, usage: Mapping[str, Any]) -> None:
        """Take over what the engine says: OpenAI's words for chats, or those for responses."""
        prompt = _number(usage.get("prompt_tokens", usage.get("input_tokens")))
        completion = _number(usage.get("completion_tokens", usage.get("output_tokens")))
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        self.prompt, self.completion = prompt, completion
        self.cached = _number(details.get("cached_tokens")) if isinstance(details, dict) else 0
        self.told = True

    def close(self) -> None:
        """The answer is over. Where the engine told nothing, as when the client left, each piece is a token."""
        if self.began and not self.told:
            self.prompt, self.completion = self.estimate, self.pieces

    @property
    def total(self) -> int:
        return self.prompt + self.completion


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**40 else 0


def usage_of(body: bytes) -> Mapping[str, Any] | None:
    """The count of tokens in a whole answer; None where there is none. An answer of any size takes microseconds."""
    place = body.rfind(_USAGE)
    while place >= 0:
        found = _KEY.match(body, place)
        if found is not None:
            return _object(body[found.end() : found.end() + _USAGE_BYTES])
        place = body.rfind(_USAGE, 0, place)
    return None


def _object(text: bytes) -> Mapping[str, Any] | None:
    try:
        value, _ = _DECODER.raw_decode(text.decode("utf-8", "replace"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class Sieve:
    """Reads the count of tokens out of a stream of events. With ``strips`` it takes it out as well."""

    def __init__(self, count: Count, *, strips: bool) -> None:
        self._count = count
        self._strips = strips
        self._rest = b""
        self._swallow = False

    def feed(self, chunk: bytes) -> bytes:
        """What is to be passed on of this chunk. Raises :class:`Malformed` for an event without an end."""
        if not self._rest and not self._swallow and chunk.endswith(b"\n") and _USAGE not in chunk:
            self._count.pieces += chunk.count(b"data:")
            return chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST:
            raise Malformed("an event without an end")
        return b"".join(kept + b"\n" for line in lines if (kept := self._line(line)) is not None)

    def rest(self) -> bytes:
        """What is left at the end of the stream."""
        rest, self._rest = self._rest, b""
        return (self._line(rest) if rest else None) or b""

    def _line(self, line: bytes) -> bytes | None:
        """A line as it is passed on; None when it is not."""
        if self._swallow and not line.strip():
            self._swallow = False
            return None
        self._swallow = False
        if not line.startswith(b"data:"):
            return line
        self._count.pieces += 1
        return self._event(line) if _USAGE in line else line

    def _event(self, line: bytes) -> bytes | None:
        facts = _object(line[5:].strip())
        if facts is None:
            return line
        response = facts.get("response")
        usage = (response if isinstance(response, dict) else facts).get("usage")
        if isinstance(usage, dict):
            self._count.take(usage)
        if not self._strips or "usage" not in facts:
            return line
        if usage and not facts.get("choices"):
            self._swallow = True
            return None
        left = {key: value for key, value in facts.items() if key != "usage"}
        return b"data: " + json.dumps(left, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "replace"
        )
