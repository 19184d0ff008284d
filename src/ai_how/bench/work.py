"""What goes into a run and what comes out of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ai_how.bench.exchange import Exchange


class Address(NamedTuple):
    """Where the target listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"


@dataclass(frozen=True)
class Work:
    """What is asked: the bytes of request ``i``, and the exchange that reads its answer.

    ``connections`` at most, and so many of them are opened ``beforehand``.
    """

    address: Address
    request: Callable[[int], bytes]
    exchange: Callable[[float], Exchange]
    connections: int
    timeout: float
    beforehand: int


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
