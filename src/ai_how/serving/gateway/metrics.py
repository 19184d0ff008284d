"""What Prometheus is told of the gateway.

A request costs two additions in tables of plain numbers; they become Prometheus' text, by its own library, when
somebody asks. Each worker writes its tables into a file of its own every second, so that whichever worker is asked
tells the sum of all, and a worker that takes the place of another goes on from where that one had come.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_how.run import write_whole
from ai_how.serving.gateway.exchange import Exchange

log = logging.getLogger("ai_how.gateway")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper ends of the buckets, in seconds.
BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
_WIDTH = len(BUCKETS) + 2

Key = tuple[str, str, str]
Allowed = Callable[[str], bool]


@dataclass(frozen=True)
class Gauge:
    """A number as it is now: its name without the prefix, what it means, and the number for each label's values."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class Tables:
    """Counts by (API, model, status) and by (model, kind of token). A histogram is its buckets, the rest, the sum."""

    def __init__(self) -> None:
        self.durations: dict[Key, list[float]] = {}
        self.firsts: dict[tuple[str, str], list[float]] = {}
        self.tokens: dict[tuple[str, str], float] = {}

    def note(self, exchange: Exchange, ended: float) -> None:
        """Count one exchange that has ended, ``ended`` by its own clock."""
        key = (exchange.api, exchange.model, str(exchange.status))
        row = self.durations.get(key)
        if row is None:
            row = self.durations[key] = [0.0] * _WIDTH
        seconds = ended - exchange.began
        row[bisect_left(BUCKETS, seconds)] += 1
        row[-1] += seconds
        if exchange.answered and exchange.status < 400:
            first = self.firsts.get((exchange.api, exchange.model))
            if first is None:
                first = self.firsts[exchange.api, exchange.model] = [0.0] * _WIDTH
            seconds = exchange.answered - exchange.began
            first[bisect_left(BUCKETS, seconds)] += 1
            first[-1] += seconds

    def count(self, model: str, kind: str, tokens: int) -> None:
        """Count tokens of text; ``kind`` is prompt or completion."""
        self.tokens[model, kind] = self.tokens.get((model, kind), 0) + tokens

    def add(self, other: Tables) -> None:
        """Add everything of another one."""
        for key, row in other.durations.items():
            self.durations[key] = _sum(self.durations.get(key), row)
        for both, row in other.firsts.items():
            self.firsts[both] = _sum(self.firsts.get(both), row)
        for kind, tokens in other.tokens.items():
            self.tokens[kind] = self.tokens.get(kind, 0) + tokens

    def text(self) -> str:
        """All of it as JSON."""
        return json.dumps(
            [
                [[*key, row] for key, row in self.durations.items()],
                [[*both, row] for both, row in self.firsts.items()],
                [[*kind, tokens] for kind, tokens in self.tokens.items()],
            ]
        )

    @classmethod
    def parse(cls, text: str) -> Tables:
        """What :meth:`text` made. Raises :class:`ValueError`."""
        made = cls()
        try:
            durations, firsts, tokens = json.loads(text)
            for api, model, status, row in durations:
                made.durations[api, model, status] = _row(row)
            for api, model, row in firsts:
                made.firsts[api, model] = _row(row)
            for model, kind, number in tokens:
                made.tokens[model, kind] = float(number)
        except (TypeError, IndexError) as error:
            raise ValueError("not a table") from error
        return made


def _sum(known: list[float] | None, row: list[float]) -> list[float]:
    return [a + b for a, b in zip(known, row, strict=True)] if known else list(row)


def _row(row: Any) -> list[float]:
    if len(row) != _WIDTH:
        raise ValueError("a histogram of other buckets")
    return [float(number) for number in row]


class Metrics:
    """The tables of this worker. ``folder`` is where the workers of one gateway leave theirs, each in its ``slot``."""

    def __init__(self, folder: Path | None = None, slot: int = 0) -> None:
        self._folder = folder
        self._file = folder / f"{slot}.json" if folder else None
        self.tables = _read(self._file) if self._file else Tables()
        self.note = self.tables.note
        self.count = self.tables.count
        self._written = ""

    def save(self) -> None:
        """Let the other workers know."""
        if self._file is not None and (text := self.tables.text()) != self._written:
            try:
                write_whole(self._file, text)
                self._written = text
            except OSError as error:
                log.warning("the metrics cannot be written: %s", error.strerror)

    def all(self) -> Tables:
        """The tables of all workers, added up."""
        made = Tables()
        made.add(self.tables)
        for path in sorted(self._folder.glob("[0-9]*.json")) if self._folder else ():
            if path != self._file:
                made.add(_read(path))
        return made

    def page(self, gauges: Iterable[Gauge], allowed: Allowed) -> bytes:
        """The page that Prometheus reads, with the models that are ``allowed``."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self.all(), tuple(gauges), allowed))
        return generate_latest(registry)


def _read(path: Path) -> Tables:
    try:
        return Tables.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Tables()
    except (OSError, ValueError):
        log.warning("the metrics of a worker cannot be read and are counted from none: %s", path.name)
        return Tables()


class _Collector:
    """Tables in the words of Prometheus' library."""

    def __init__(self, tables: Tables, gauges: tuple[Gauge, ...], allowed: Allowed) -> None:
        self._tables = tables
        self._gauges = gauges
        self._allowed = allowed

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        tables = self._tables
        requests = CounterMetricFamily(
            "ai_how_gateway_requests", "Requests that were answered.", labels=("api", "model", "status")
        )
        times = HistogramMetricFamily(
            "ai_how_gateway_request_seconds", "From a request's head to its end.", labels=("api", "model")
        )
        firsts = HistogramMetricFamily(
            "ai_how_gateway_first_byte_seconds",
            "From a request's head to the first byte of a good answer.",
            labels=("api", "model"),
        )
        summed: dict[tuple[str, str], list[float]] = {}
        for (api, model, status), row in sorted(tables.durations.items()):
            if self._allowed(model):
                requests.add_metric((api, model, status), sum(row[:-1]))
                summed[api, model] = _sum(summed.get((api, model)), row)
        for family, rows in ((times, summed), (firsts, tables.firsts)):
            for labels, row in sorted(rows.items()):
                if self._allowed(labels[1]):
                    family.add_metric(labels, buckets=_buckets(row), sum_value=row[-1])
        spent = CounterMetricFamily(
            "ai_how_gateway_tokens", "Tokens of text, by the engines' own count.", labels=("model", "kind")
        )
        for token_labels, number in sorted(tables.tokens.items()):
            if self._allowed(token_labels[0]):
                spent.add_metric(token_labels, number)
        yield from (requests, times, firsts, spent)
        for gauge in self._gauges:
            now = GaugeMetricFamily(f"ai_how_gateway_{gauge.name}", gauge.help, labels=gauge.labels)
            for values, number in sorted(gauge.values.items()):
                if self._allowed(values[0]):
                    now.add_metric(values, number)
            yield now


def _buckets(row: list[float]) -> list[tuple[str, float]]:
    found, sum_of = [], 0.0
    for end, number in zip((*map(str, BUCKETS), "+Inf"), row[:-1], strict=True):
        sum_of += number
        found.append((end, sum_of))
    return found
