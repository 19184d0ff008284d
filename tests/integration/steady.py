"""Steady load on one model through the gateway: some ask for a whole answer, some for a stream. Failures are kept."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx


@dataclass(frozen=True)
class Failure:
    """A request that was not answered as it should be. ``begun``: something of the answer had come already."""

    at: float
    what: str
    begun: bool


@dataclass
class Steady:
    """``with Steady(url, token, "tiny") as load:`` asks until the end of the block, without a pause."""

    base_url: str
    token: str
    model: str
    workers: int = 4
    tokens: int = 8
    verify: bool | str = True
    answered: int = 0
    longest: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Steady:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.workers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def unbegun(self) -> list[Failure]:
        """Failures of requests that had received nothing."""
        return [one for one in self.failures if not one.begun]

    def _run(self, number: int) -> None:
        headers = {"authorization": f"Bearer {self.token}"}
        with httpx.Client(trust_env=False, timeout=120, headers=headers) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                failure = self._ask(client, stream=number % 2 == 1)
                with self._lock:
                    if failure:
                        self.failures.append(failure)
                    else:
                        self.answered += 1
                        self.longest = max(self.longest, time.monotonic() - began)

    def _ask(self, client: httpx.Client, *, stream: bool) -> Failure | None:
        body: dict[str, Any] = {
            "model": self.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": self.tokens,
            "temperature": 0, "stream": stream,
        }  # fmt: skip
        begun = False
        try:
            with client.stream("POST", f"{self.base_url}/chat/completions", json=body) as answer:
                if answer.status_code != 200:
                    return Failure(time.time(), f"{answer.status_code}: {answer.read()[:300]!r}", begun)
                if not stream:
                    return (
                        None if json.loads(answer.read())["choices"] else Failure(time.time(), "empty", begun)
                    )
                ended = False
                for line in answer.iter_lines():
                    begun = begun or line.startswith("data: {")
                    if '"error"' in line:
                        return Failure(time.time(), line[:300], begun)
                    ended = ended or line == "data: [DONE]"
        except httpx.HTTPError as error:
            return Failure(time.time(), repr(error), begun)
        return None if ended else Failure(time.time(), "the stream ended early", begun)
