"""What goes into a run and what comes out of it. Pure."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ai_how.bench.exchange import Exchange
from ai_how.spec.bench import BenchRecipe

#: The number of a request is its run's lot, times this, and its place: the repetition's billion and the request in it.
LOT = 10**12
_REPETITION = 10**9


def fresh_lot() -> int:
    """The lot of one run: its requests are told by it from those of any other run, of this benchmark or another."""
    return secrets.randbits(40)


def first_of(lot: int, number: int) -> int:
    """The number of the first request of repetition ``number``."""
    return lot * LOT + number * _REPETITION


class Address(NamedTuple):
    """Where the target listens.

    ``trust`` is None where it speaks no TLS, and otherwise the certificates by which it is known, as PEM; empty for the
    system's own.
    """

    host: str
    port: int
    trust: str | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self.trust is None else 'https'}://{self}"

    @property
    def context(self) -> ssl.SSLContext | None:
        """What a TLS connection to it is checked by. Raises :class:`ssl.SSLError` for certificates that are none."""
        if self.trust is None:
            return None
        context = ssl.create_default_context(cadata=self.trust or None)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"


Ended = Callable[[Exchange], None]
"""Who is told of an exchange when it has ended, good or not."""


class Carrier(Protocol):
    """Carries requests to the target, and their answers back: HTTP connections, or threads that call a library."""

    async def warm(self, count: int) -> None:
        """Be ready for so many at once. Raises :class:`OSError` when the target is not there."""
        ...

    def submit(self, exchange: Exchange, request: bytes) -> None:
        """Send it now, or as soon as something is free; sets ``sent``, ``done`` and ``error``."""
        ...

    def drop_waiting(self) -> None:
        """Those that wait are not sent any more."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Work:
    """What is asked: the bytes of request ``i``, and the exchange that reads its answer.

    ``connections`` at most, and so many of them are opened ``beforehand``. ``carrier`` makes what carries the requests
    where that is no HTTP; it is told whom to call when an exchange has ended.
    """

    address: Address
    request: Callable[[int], bytes]
    exchange: Callable[[float], Exchange]
    connections: int
    timeout: float
    beforehand: int
    carrier: Callable[[Ended], Carrier] | None = None


def connections_of(recipe: BenchRecipe) -> int:
    """How many requests may be under way at once."""
    return recipe.load.clients if recipe.load.arrivals == "closed" else recipe.load.connections


@dataclass
class Progress:
    """How far a run is; of a closed loop ``intended`` is None."""

    intended: int | None
    sent: int = 0
    good: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Taken:
    """What a run took down. ``busy`` is the share of a core that the generator used; ``stopped`` why it ended early."""

    exchanges: list[Exchange]
    started: float
    seconds: float
    busy: float
    stopped: str | None
