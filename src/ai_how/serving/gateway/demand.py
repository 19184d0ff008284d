"""Tells the reconciler how much is asked of the models: datagrams that nobody waits for."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ai_how.serving.gateway.seats import Seat
from ai_how.wire import Demand, ModelDemand

# Seconds between two datagrams: while something changes, and while anything waits or is being answered.
_SOON = 0.1
_STEADY = 1.0
_LEAST = 0.02


def summary(
    seats: Iterable[Seat], waiting: Mapping[str, int]
) -> tuple[dict[str, ModelDemand], dict[str, int]]:
    """The load of each model, and the requests on each replica by nonce. Pure."""
    load = {model: [count, 0, 0] for model, count in waiting.items() if count}
    replicas: dict[str, int] = {}
    for seat in seats:
        if seat.requests:
            replicas[seat.nonce] = seat.requests
            of_model = load.setdefault(seat.replica.record.model, [0, 0, 0])
            of_model[1] += seat.requests
            of_model[2] += seat.tokens
    models = {
        model: ModelDemand(waiting=count, active=active, tokens=max(tokens, 0))
        for model, (count, active, tokens) in load.items()
    }
    return models, replicas


class Reporter(Protocol):
    """Hears of every change of the load."""

    def changed(self) -> None:
        """Something has changed: it is told before long."""
        ...

    def at_once(self) -> None:
        """Something has changed for which somebody waits."""
        ...

    def close(self) -> None: ...


class Nobody:
    """There is no reconciler to tell."""

    def changed(self) -> None:
        return

    def at_once(self) -> None:
        return

    def close(self) -> None:
        return


class DemandSocket:
    """Sends what ``facts`` says to the reconciler's socket. One that is not there or does not read is no fault."""

    def __init__(self, path: Path, facts: Callable[[str], tuple[Demand, bool]]) -> None:
        self._path = str(path)
        self._facts = facts
        self._worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False
        self._sent = 0.0

    def changed(self) -> None:
        if not self._soon:
            self._arm(_SOON, soon=True)

    def at_once(self) -> None:
        if time.monotonic() - self._sent < _LEAST:
            self.changed()  # many are refused or begin to wait: the reconciler need not hear of each
        else:
            self._send()

    def close(self) -> None:
        """Tell for the last time, as much as is there."""
        self._send()
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._socket.close()
        self._timer = self._socket = None

    def _arm(self, seconds: float, *, soon: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._soon = soon
        self._timer = asyncio.get_running_loop().call_later(seconds, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._soon, self._sent = None, False, time.monotonic()
        demand, busy = self._facts(self._worker)
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # Where nobody is there, or it reads too slowly, the next one says all of it again.
        with suppress(OSError):
            self._socket.sendto(demand.model_dump_json().encode(), self._path)
        if busy:
            self._arm(_STEADY, soon=False)
