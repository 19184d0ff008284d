"""A run over its own time: what was asked, what came back, how long it took; and some requests one by one. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.model import Series

#: Slices of a run, and the shortest of them in seconds.
_SLICES = 120
_SHORTEST = 0.25
#: Requests that are kept one by one for the picture.
_EXAMPLES = 48


def timeline(exchanges: Sequence[Exchange]) -> tuple[Series, ...]:
    """Requests due and answered a second, tokens a second, and the median latency, slice by slice.

    ``exchanges`` are in the order in which they were due. A slice counts what was due, or came, in it; the last
    one, which the end cuts off, is left out.
    """
    if not exchanges:
        return ()
    start = exchanges[0].due
    end = max(max(one.done, one.due) for one in exchanges)
    width = max((end - start) / _SLICES, _SHORTEST)
    count = int((end - start) / width) + 1
    due, answered, tokens = [0.0] * count, [0.0] * count, [0.0] * count
    latencies: list[list[float]] = [[] for _ in range(count)]
    chat = False
    for one in exchanges:
        at = int((one.due - start) / width)
        due[at] += 1
        if not one.good:
            continue
        answered[int((one.done - start) / width)] += 1
        latencies[at].append(one.done - one.due)
        if isinstance(one, ChatExchange) and one.tokens:
            chat = True
            _spread(one, tokens, start, width)
    if count > 4:
        # The last slice is cut off by the end: what it counts is no rate.
        count -= 1
        due, answered, tokens, latencies = due[:count], answered[:count], tokens[:count], latencies[:count]
    times = tuple(round((index + 0.5) * width, 6) for index in range(count))
    middle = [(time, statistics.median(own) * 1e3) for time, own in zip(times, latencies, strict=True) if own]
    found = [
        Series(name="due", unit="1/s", times=times, values=tuple(value / width for value in due)),
        Series(name="answered", unit="1/s", times=times, values=tuple(value / width for value in answered)),
        Series(
            name="latency.p50",
            unit="ms",
            times=tuple(time for time, _ in middle),
            values=tuple(value for _, value in middle),
        ),
    ]
    if chat:
        values = tuple(value / width for value in tokens)
        found.append(Series(name="tokens", unit="tokens/s", times=times, values=values))
    return tuple(found)


def _spread(one: ChatExchange, tokens: list[float], start: float, width: float) -> None:
    """The server's count of an answer's tokens, where its events came: an event may bring several."""
    at, share = one.first, (one.tokens or 0) / max(1, one.events)
    told = 0
    for gap in (0.0, *one.gaps):
        at += gap
        told += 1
        tokens[min(int((at - start) / width), len(tokens) - 1)] += share
    left = one.events - told
    if left > 0:
        tokens[int((one.last - start) / width)] += share * left


def examples(exchanges: Sequence[Exchange]) -> tuple[tuple[float, ...], ...]:
    """Some requests in a row, from the middle of the run: (due, sent, first, last, done) from its beginning."""
    if not exchanges:
        return ()
    start = exchanges[0].due
    first = max(0, len(exchanges) // 2 - _EXAMPLES // 2)
    found = []
    for one in exchanges[first : first + _EXAMPLES]:
        if one.good:
            last = one.last if isinstance(one, ChatExchange) else one.done
            times = (one.due, one.sent, one.first or one.done, last, one.done)
            found.append(tuple(round(time - start, 6) for time in times))
    return tuple(found)
