"""What tokens may spend: decided in tables, kept in one file by several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ai_how.errors import AiHowError
from ai_how.run import SystemClock
from ai_how.security import Grant, TokenEntry
from ai_how.serving.gateway import plan
from ai_how.serving.gateway.ledger import DAY, Ledger, Line, Stop, ask, filled, hold, settle

NOW = 20_000.5 * DAY  # noon


@dataclass
class Still:
    """A clock that is moved by hand."""

    time: float = NOW

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def entry(name: str = "ada", **grant: int) -> TokenEntry:
    return TokenEntry(name=name, sha256=name.encode().hex().ljust(64, "0"), **grant)


def line(left: float = 0.0, *, ago: float = 0.0, today: int = 0, in_all: int = 0, days: int = 0) -> Line:
    return Line(NOW - ago, left, left, int(NOW // DAY) - days, today, in_all)


@pytest.mark.parametrize(
    ("before", "grant", "left", "stop"),
    [
        (Line(), Grant(requests_per_minute=2), 1.0, None),
        (line(1.0), Grant(requests_per_minute=2), 0.0, None),
        (line(0.5), Grant(requests_per_minute=2), 0.5, Stop("requests", 15.0)),
        (line(0.5, ago=15), Grant(requests_per_minute=2), 0.0, None),
        (line(0.0, ago=1000), Grant(requests_per_minute=2), 1.0, None),
        (line(0.0, ago=-1000), Grant(requests_per_minute=2), 0.0, Stop("requests", 30.0)),
        (line(9.0), Grant(requests_per_minute=2), 1.0, None),  # the limit was lowered
        (Line(), Grant(), 0.0, None),
    ],
)
def test_requests(before: Line, grant: Grant, left: float, stop: Stop | None) -> None:
    after, met = ask(before, grant, NOW)
    assert (after.requests, met) == (pytest.approx(left), stop)


@pytest.mark.parametrize(
    ("before", "grant", "asked", "left", "stop"),
    [
        (Line(), Grant(tokens_per_minute=600), 100, 500, None),
        (line(50), Grant(tokens_per_minute=600), 100, 50, Stop("tokens", 5.0)),
        (line(50, ago=5), Grant(tokens_per_minute=600), 100, 0, None),
        # more than a minute's worth passes from a full bucket, and is owed
        (Line(), Grant(tokens_per_minute=600), 1000, -400, None),
        (line(599), Grant(tokens_per_minute=600), 1000, 599, Stop("tokens", 0.1)),
        (line(today=900, in_all=900), Grant(tokens_per_day=1000), 500, -500, None),
        (line(today=1000, in_all=1000), Grant(tokens_per_day=1000), 1, 0, Stop("day", DAY / 2)),
        (line(today=1000, in_all=1000, days=1), Grant(tokens_per_day=1000), 1, -1, None),
        (line(in_all=1000), Grant(tokens_in_all=1000, tokens_per_day=1), 1, 0, Stop("all", None)),
    ],
)
def test_tokens_of_text(before: Line, grant: Grant, asked: int, left: float, stop: Stop | None) -> None:
    after, met = hold(before, grant, asked, NOW)
    assert met == (stop and Stop(stop.limit, pytest.approx(stop.seconds) if stop.seconds else None))
    if grant.tokens_per_minute:
        assert after.tokens == pytest.approx(left)
    assert after.in_all == before.in_all + (0 if stop else asked)


def test_what_was_held_is_put_right_by_what_was_used() -> None:
    grant = Grant(tokens_per_minute=600, tokens_per_day=1000)
    held, _ = hold(Line(), grant, 400, NOW)
    after = settle(held, grant, 400, 70, NOW)
    assert (after.tokens, after.today, after.in_all) == (530, 70, 70)
    assert filled(after, grant, NOW + DAY).today == 0 and filled(after, grant, NOW + DAY).in_all == 70
    # an answer that comes after midnight gives back no more than there is
    assert settle(after, grant, 400, 0, NOW + DAY).today == 0


@pytest.mark.parametrize(
    ("stop", "code", "retry", "words"),
    [
        (Stop("requests", 29.2), "rate_limit_exceeded", 30, "2 times a minute"),
        (Stop("tokens", 0.01), "rate_limit_exceeded", 1, "3 tokens of text a minute"),
        (Stop("day", 3600.0), "budget_spent", 3600, "4 tokens of text of today"),
        (Stop("all", None), "budget_spent", None, "all of its 5 tokens"),
    ],
)
def test_a_limit_is_told_with_the_time_to_wait(stop: Stop, code: str, retry: int | None, words: str) -> None:
    grant = Grant(requests_per_minute=2, tokens_per_minute=3, tokens_per_day=4, tokens_in_all=5)
    refusal = plan.spent(grant, stop)
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, code, retry)
    assert words in refusal.message


def test_a_budget_outlives_the_gateway(tmp_path: Path) -> None:
    ada, clock = entry(tokens_in_all=100), Still()
    first = Ledger(tmp_path / "ledger", clock)
    assert first.hold(ada, 90) is None
    first.settle(ada, 90, 100)
    first.close()
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o600
    again = Ledger(tmp_path / "ledger", clock)
    assert again.hold(ada, 1) == Stop("all", None)
    assert again.hold(entry("eve", tokens_in_all=100), 1) is None


def test_a_token_without_limits_leaves_no_trace(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", Still())
    assert ledger.ask(entry()) is None and ledger.hold(entry(), 10**9) is None
    ledger.settle(entry(), 5, 6)
    assert ledger.spent(entry()).in_all == 0


SPEND = """
import sys
from pathlib import Path
from ai_how.run import SystemClock
from ai_how.security import TokenEntry
from ai_how.serving.gateway.ledger import Ledger
entry = TokenEntry.model_validate_json(sys.argv[2])
ledger = Ledger(Path(sys.argv[1]), SystemClock())
passed = sum(ledger.hold(entry, 1) is None for _ in range(4000))
print(passed)
"""


def test_workers_share_one_budget_to_the_token(tmp_path: Path) -> None:
    """Three processes ask 12,000 times together for a budget of 7,000: exactly that many pass."""
    ada = entry(tokens_in_all=7000)
    words = [sys.executable, "-c", SPEND, str(tmp_path / "ledger"), ada.model_dump_json()]
    workers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    passed = [int(one.communicate(timeout=60)[0]) for one in workers]
    assert sum(passed) == 7000 and all(one.returncode == 0 for one in workers)


STOPS = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


def test_a_worker_that_hangs_on_a_lock_holds_up_nobody(tmp_path: Path) -> None:
    ada, ledger = entry(requests_per_minute=7), Ledger(tmp_path / "ledger", SystemClock())
    assert ledger.ask(ada) is None
    hung = subprocess.Popen(
        [sys.executable, "-c", STOPS, str(tmp_path / "ledger")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert hung.stdout is not None and hung.stdout.readline() == "locked\n"
        begun = time.monotonic()
        assert ledger.ask(ada) is None
        waited = time.monotonic() - begun
        again = []
        for _ in range(3):  # whatever else the machine does meanwhile
            begun = time.monotonic()
            assert ledger.ask(ada) is None
            again.append(time.monotonic() - begun)
        assert min(again) < waited / 2  # the line is known to hang: nobody waits for it twice
    finally:
        os.kill(hung.pid, signal.SIGKILL)
        hung.communicate()
    assert ledger.ask(ada) is None and ledger.ask(ada) is None
    assert ledger.ask(ada) is not None  # all five were counted


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_bytes(b"something else")
    with pytest.raises(AiHowError, match="another version"):
        Ledger(tmp_path / "ledger", Still())
