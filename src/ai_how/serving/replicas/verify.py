"""Asks engines whether they are what their records say, before anybody else may ask them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ai_how.errors import AiHowError
from ai_how.run import Clock
from ai_how.serving.replicas.model import Check, ReplicaWanted, Tunnels
from ai_how.wire import EndpointRecord

_SECONDS = 5.0
_AT_ONCE = 32
#: Seconds between two questions to an engine that did not answer as it should.
_AGAIN = 0.5
_LARGEST_ANSWER = 4 * 1024 * 1024


@dataclass(frozen=True)
class _Place:
    host: str
    port: int
    started: float


def ask(host: str, port: int, check: Check, model: str, secret: str) -> str:
    """Ask an engine for its models. Returns why it is not the one asked for; empty when it is."""
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", check.path, headers={"Authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        body = answer.read(_LARGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        return f"its engine does not answer: {error or type(error).__name__}"
    finally:
        connection.close()
    if answer.status != 200:
        return f"its engine answers {answer.status} to its secret"
    try:
        names = [entry[check.name_key] for entry in json.loads(body)[check.list_key]]
    except (ValueError, KeyError, TypeError):
        return "what answers is not its engine"
    return "" if model in names else f"its engine does not list {model}"


class Verifier:
    """Keeps what was found out; asks anew when a record names another place. Questions run beside the passes.

    ``secret`` gives the secret of a nonce. With ``tunnels`` a place is reached through them. ``told`` is called, from
    another thread, whenever an answer has come.
    """

    def __init__(
        self,
        secret: Callable[[str], str],
        told: Callable[[], None],
        clock: Clock,
        tunnels: Tunnels | None = None,
    ) -> None:
        self._secret = secret
        self._told = told
        self._clock = clock
        self._tunnels = tunnels
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="verify")
        self._found: dict[str, tuple[_Place, str, float]] = {}
        self._asked: dict[str, Future[None]] = {}

    def look(self, pairs: Iterable[tuple[ReplicaWanted, EndpointRecord]]) -> None:
        """Ask the engines of those that were not found right yet. Returns at once."""
        now = self._clock.monotonic()
        seen = set()
        for wanted, record in pairs:
            seen.add(wanted.nonce)
            place = _Place(record.host, record.port, record.started)
            before = self._found.get(wanted.nonce)
            if before and before[0] == place and (not before[1] or now - before[2] < _AGAIN):
                continue
            pending = self._asked.get(wanted.nonce)
            if pending is None or pending.done():
                self._asked[wanted.nonce] = self._pool.submit(self._ask, wanted, record, place)
        for nonce in set(self._found) - seen:
            self._found.pop(nonce, None)
            self._asked.pop(nonce, None)

    def _ask(self, wanted: ReplicaWanted, record: EndpointRecord, place: _Place) -> None:
        try:
            host, port = record.host, record.port
            if self._tunnels is not None:
                host, port = self._tunnels.local(host, port)
            check = wanted.check or Check(path="/v1/models", list_key="data", name_key="id")
            why = ask(host, port, check, wanted.model, self._secret(wanted.nonce))
        except AiHowError as error:
            why = error.message
        self._found[wanted.nonce] = (place, why, self._clock.monotonic())
        self._told()

    @property
    def verified(self) -> frozenset[str]:
        """The nonces whose engine gave the right answer."""
        return frozenset(nonce for nonce, (_, why, _) in self._found.copy().items() if not why)

    @property
    def faults(self) -> Mapping[str, str]:
        """Why the others are not trusted, as far as they were asked."""
        return {nonce: why for nonce, (_, why, _) in self._found.copy().items() if why}

    def close(self) -> None:
        """End; answers that are on their way are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
