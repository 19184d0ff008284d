"""Server-sent events, as far as OpenAI's API uses them: every event is one line ``data: ...``."""

from __future__ import annotations

from collections.abc import Iterator

DONE = "[DONE]"
#: Bytes of one event: more than an answer of any length, less than would fill a machine.
LONGEST = 16 * 1024 * 1024


class EventReader:
    """Takes the bytes of a stream as they arrive, cut anywhere, and gives the events that are complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of each event that ends in ``chunk``. Comments and other fields are passed over.

        Raises :class:`ValueError` for an event without an end.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST:
            raise ValueError("an event without an end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].decode("utf-8", "replace").strip()
