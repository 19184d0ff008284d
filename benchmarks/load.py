"""What the load generator can do, and whether its figures are right.

``percentiles``: against a server with planted stalls and a known service time, the percentiles from the intended
instant are compared with those that follow from the server's manner, at 100, 1,000 and 5,000 requests a second; the
same server under a closed loop shows what such a tool does not see. ``capacity``: the most requests a second on one
core beside wrk against the same nginx on the other, the lag at 1,000 a second, and server-sent events a second.
The gate has a program of its own, ``gate.py``.

``python benchmarks/load.py [percentiles] [capacity] [--periods N] [--json]`` does both in about a minute. nginx and wrk
must be on PATH for the rows that name them (Debian: wrk, nginx-light); nothing is started for good. Ends with 1 when a
bound is missed, and says which.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from ai_how.bench import schedule
from ai_how.bench.calibrate import reference_server
from ai_how.bench.drive import Drive
from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.histogram import Histogram
from ai_how.bench.priority import first_in_line
from ai_how.bench.reference import Manner
from ai_how.bench.targets.openai import chat_body
from ai_how.bench.targets.web import http_request
from ai_how.bench.work import Address, Taken, Work
from ai_how.run import Command, LocalGate, wait_until
from ai_how.spec.bench import Prompts

SHARES = (0.5, 0.75, 0.9, 0.99)
#: Share by which a measured percentile may be off.
BOUND = 0.02
#: The least requests a second on one core, and of wrk's; the least events; the most milliseconds late at p99.
REQUESTS, OF_WRK, EVENTS, LATE = 15_000, 0.2, 20_000, 1.0
#: Requests a second, and the length of the manner's times: the backlog of a stall needs a connection each.
RATES = ((100, 1.0), (1000, 0.5), (5000, 0.3))


def manner(scale: float) -> Manner:
    """A third of all requests wait for a stall. The period is no multiple of any gap, so that all phases are met."""
    return Manner(service=0.1 * scale, stall=0.6 * scale, period=3.605 * scale)


@dataclass(frozen=True)
class Agreement:
    """Seconds by percentile: what follows from the manner, from the intended instant, and in a closed loop."""

    rate: float
    exact: Mapping[float, float]
    open: Mapping[float, float]
    closed: Mapping[float, float]
    lag_p99: float

    @property
    def worst(self) -> float:
        """The largest error of the open loop, as a share."""
        return max(abs(self.open[share] / self.exact[share] - 1) for share in SHARES)


def agreement(rate: float, scale: float, periods: int) -> Agreement:
    """Measure whole periods in an open loop, and one in a closed one."""
    how = manner(scale)
    options = [f"--{name}={getattr(how, name)}" for name in ("service", "stall", "period", "drain")]

    async def both(address: Address) -> tuple[Taken, Taken]:
        work = plain(address, int(rate * how.stall) + 50)
        opened = await Drive(work).open(schedule.constant(rate, periods * how.period))
        closed = await Drive(work).closed(round(rate * how.service), how.period)
        return opened, closed

    with first_in_line(), reference_server(LocalGate(), *options) as address:
        opened, closed = uvloop.run(both(address))
    failed = [one.error for one in opened.exchanges + closed.exchanges if one.error]
    assert not failed, failed[:5]
    return Agreement(
        rate,
        {share: how.percentile(share) for share in SHARES},
        percentiles(opened, lambda one: one.done - one.due),
        percentiles(closed, lambda one: one.done - one.sent),
        percentiles(opened, lambda one: one.woke - one.due)[0.99],
    )


def plain(address: Address, connections: int) -> Work:
    request = http_request("GET", "/", address, b"", None, "")
    return Work(address, lambda _: request, Exchange, connections, 30, connections)


def percentiles(taken: Taken, time: Callable[[Exchange], float]) -> dict[float, float]:
    found = Histogram(round(time(one) * 1e9) for one in taken.exchanges)
    return {share: found.percentile(share) / 1e9 for share in SHARES}


# --- capacity -----------------------------------------------------------------------------------------


def capacity(seconds: float) -> dict[str, Any]:
    """What one process does, with the machine's last core, while the server has the first."""
    found: dict[str, Any] = {}
    cores = sorted(os.sched_getaffinity(0))
    with reference_server(LocalGate()) as address, pinned(cores[-1]):
        found["events_a_second"] = uvloop.run(events(address, seconds))
        taken = uvloop.run(paced(address, seconds))
        lag = Histogram(round((one.woke - one.due) * 1e9) for one in taken.exchanges)
        found["lag_ms"] = {"p50": lag.percentile(0.5) / 1e6, "p99": lag.percentile(0.99) / 1e6}
        found["requests_a_second_reference"] = uvloop.run(most(address, seconds))
    if shutil.which("nginx") and shutil.which("wrk"):
        with nginx(cores[0]) as address, pinned(cores[-1]):
            pairs = [(uvloop.run(most(address, seconds)), wrk(address, cores[-1], seconds)) for _ in range(3)]
        found["nginx"] = [{"ours": ours, "wrk": theirs, "ratio": ours / theirs} for ours, theirs in pairs]
    else:
        print("nginx or wrk is not on PATH: their rows are left out", file=sys.stderr)
    return found


async def most(address: Address, seconds: float) -> float:
    taken = await Drive(plain(address, 64)).closed(64, seconds)
    return sum(one.good for one in taken.exchanges) / taken.seconds


async def paced(address: Address, seconds: float) -> Taken:
    return await Drive(plain(address, 64)).open(schedule.constant(1000, seconds))


async def events(address: Address, seconds: float) -> float:
    body = chat_body("none", Prompts(max_tokens=100), 0)
    request = http_request("POST", "/v1/chat/completions", address, body, None, "application/json")
    taken = await Drive(Work(address, lambda _: request, ChatExchange, 16, 30, 16)).closed(16, seconds)
    return sum(one.events for one in taken.exchanges if isinstance(one, ChatExchange)) / taken.seconds


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """This process on one core, and nothing that was started before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def nginx(core: int) -> Iterator[Address]:
    """One worker of nginx on one core, on loopback, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="ai-how-nginx-") as folder:
        port = 18_480
        text = f"""daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; server {{ listen 127.0.0.1:{port}; return 200 "ok\\n"; }} }}
"""
        (Path(folder) / "nginx.conf").write_text(text)
        words = ("taskset", "-c", str(core), "nginx", "-p", folder, "-c", f"{folder}/nginx.conf")
        process = LocalGate().start(Command(words), Path(folder) / "said")
        try:
            wait_until(lambda: (Path(folder) / "pid").exists(), what="the start of nginx", timeout=10)
            yield Address("127.0.0.1", port)
        finally:
            os.kill(process, signal.SIGTERM)


def wrk(address: Address, core: int, seconds: float) -> float:
    words = ("taskset", "-c", str(core), "wrk", "-t1", "-c64", f"-d{round(seconds)}s", f"http://{address}/")
    found = re.search(r"Requests/sec:\s+([\d.]+)", LocalGate().run(Command(words)).stdout)
    assert found is not None
    return float(found[1])


# --- what is said -------------------------------------------------------------------------------------


def bounds(facts: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each row of the capacity beside its bound; of three turns beside nginx the middle one counts."""
    turns = sorted(facts.get("nginx", ()), key=lambda turn: turn["ratio"])
    if turns:
        ours, share = median(turn["ours"] for turn in turns), turns[len(turns) // 2]["ratio"]
        each = " ".join(f"{turn['ratio']:.2f}" for turn in turns)
        yield (
            f"{ours:9,.0f} requests a second on one core, nginx on the other; at least {REQUESTS:,}",
            ours >= REQUESTS,
        )
        yield f"{share:9.2f} of wrk's ({each}); at least {OF_WRK}", share >= OF_WRK
    late, events = facts["lag_ms"]["p99"], facts["events_a_second"]
    yield f"{late:9.3f} ms late at p99 at 1,000 a second; at most {LATE}", late <= LATE
    yield f"{events:9,.0f} server-sent events a second on one core; at least {EVENTS:,}", events >= EVENTS


def table(found: Sequence[Agreement]) -> Iterator[str]:
    for one in found:
        yield f"{one.rate:,.0f} requests a second; {one.lag_p99 * 1e3:.2f} ms late at p99"
        yield f"  worst {one.worst:.1%} of at most {BOUND:.0%}: {'ok' if one.worst <= BOUND else 'MISSED'}"
        yield "        exact       open loop         closed loop"
        for share in SHARES:
            exact, opened, closed = one.exact[share], one.open[share], one.closed[share]
            yield (
                f"  p{share * 100:<4g} {exact * 1e3:7.1f} ms  {opened * 1e3:7.1f} ms {opened / exact - 1:+6.1%}"
                f"  {closed * 1e3:7.1f} ms {closed / exact - 1:+6.1%}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", metavar="percentiles|capacity")
    parser.add_argument("--periods", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    facts: dict[str, Any] = {}
    met = True
    if not args.what or "percentiles" in args.what:
        found = [agreement(rate, scale, args.periods) for rate, scale in RATES]
        met = all(one.worst <= BOUND for one in found)
        facts["percentiles"] = [vars(one) | {"worst": one.worst} for one in found]
        if not args.json:
            print("\n".join(table(found)))
    if not args.what or "capacity" in args.what:
        # Everybody has the same right to the cores: nginx, wrk and the reference server inherit it.
        with first_in_line():
            facts["capacity"] = capacity(args.seconds)
        rows = list(bounds(facts["capacity"]))
        met = met and all(ok for _, ok in rows)
        if not args.json:
            print("\n".join(f"{text}: {'ok' if ok else 'MISSED'}" for text, ok in rows))
    if args.json:
        print(json.dumps(facts, indent=2))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
