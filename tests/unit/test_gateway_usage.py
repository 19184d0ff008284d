"""Tokens are counted by the engine's own words as they pass by, and written down off the hot path."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ai_how.run import SystemClock
from ai_how.security import TokenEntry
from ai_how.serving.gateway.counting import Count, Sieve, usage_of
from ai_how.serving.gateway.dialect import Malformed, openai
from ai_how.serving.gateway.usage import Row, UsageLog, open_usage, read_usage

SAID = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
ENTRY = TokenEntry(name="ada", owner="Ada", sha256="0" * 64)


def line(**facts: object) -> bytes:
    return b"data: " + json.dumps(facts, separators=(",", ":")).encode() + b"\n\n"


WORD, NULL = line(choices=[{"delta": {"content": 'say "usage": {}'}}]), line(choices=[{"x": 1}], usage=None)
LAST, DONE = line(choices=[], usage=SAID), b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"choices": [], "usage": {"prompt_tokens": 5}}', {"prompt_tokens": 5}),
        (b'{"usage" : {"prompt_tokens": 5}, "timings": {"x": 1}}', {"prompt_tokens": 5}),
        (b'{"response": {"usage":{"input_tokens":1}}}', {"input_tokens": 1}),
        (
            b'{"usage": {"prompt_tokens": 5}, "said": "\\"usage\\": {\\"prompt_tokens\\": 9}"}',
            {"prompt_tokens": 5},
        ),
        (b'{"usage": {"prompt_tokens": 5}, "said": "usage"}', {"prompt_tokens": 5}),
        (b'{"usage": null}', None),
        (b'{"usage": {"prompt_tokens"', None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_what_a_whole_answer_says(body: bytes, found: object) -> None:
    assert usage_of(body) == found


def test_a_large_answer_is_not_read_for_its_count() -> None:
    body = b'{"data": [' + b"0.123456789," * 2_000_000 + b'0], "usage": {"prompt_tokens": 5}}'
    began = time.process_time()
    assert usage_of(body) == {"prompt_tokens": 5}
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize(
    ("sent", "strips", "passed"),
    [
        (WORD + LAST + DONE, True, WORD + DONE),
        (WORD + LAST + DONE, False, WORD + LAST + DONE),
        (WORD + NULL + LAST + DONE, True, WORD + line(choices=[{"x": 1}]) + DONE),
        (WORD + NULL + LAST + DONE, False, WORD + NULL + LAST + DONE),
        (line(choices=[{"x": 1}], usage=SAID) + DONE, True, line(choices=[{"x": 1}]) + DONE),
        (b": comment\n\nevent: x\n" + LAST + DONE, False, b": comment\n\nevent: x\n" + LAST + DONE),
        (line(type="response.completed", response={"usage": SAID}), False, None),
        (WORD + LAST.rstrip(), True, WORD),
        (b'data: {"usage": broken}\n\n' + LAST, True, b'data: {"usage": broken}\n\n'),
    ],
)
def test_a_stream_is_counted_however_it_is_cut(
    size: int, sent: bytes, strips: bool, passed: bytes | None
) -> None:
    count = Count(100)
    sieve = Sieve(count, strips=strips)
    found = b"".join(sieve.feed(sent[start : start + size]) for start in range(0, len(sent), size))
    found += sieve.rest()
    assert found == (sent if passed is None else passed)
    assert (count.told, count.prompt, count.completion, count.cached) == (True, 7, 3, 4)


def test_whole_events_are_passed_on_as_they_come() -> None:
    sieve = Sieve(Count(0), strips=True)
    assert [sieve.feed(one) for one in (WORD, LAST, DONE)] == [WORD, b"", DONE]


@pytest.mark.parametrize("strips", [True, False])
def test_half_an_event_is_not_passed_on(strips: bool) -> None:
    """What follows, if the engine breaks off there, is an error: it must not stand in the middle of a line."""
    sieve = Sieve(Count(0), strips=strips)
    assert sieve.feed(WORD + WORD[:9]) == WORD


def test_an_event_without_an_end_is_given_up() -> None:
    sieve = Sieve(Count(0), strips=True)
    with pytest.raises(Malformed, match="without an end"):
        for _ in range(20):
            sieve.feed(b"x" * 2**20)


def test_what_no_engine_tells_is_estimated() -> None:
    count = Count(100)
    count.began = True
    Sieve(count, strips=False).feed(WORD + WORD)
    count.close()
    assert (count.told, count.prompt, count.completion, count.total) == (False, 100, 2, 102)
    unheard = Count(100)
    unheard.close()
    assert unheard.total == 0
    count.take({"prompt_tokens": -5, "completion_tokens": "many", "prompt_tokens_details": 7})
    assert (count.prompt, count.completion, count.cached) == (0, 0, 0)


@pytest.mark.parametrize(
    ("asked", "sent", "strips"),
    [
        ({"stream": False}, None, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, None, False),
        ({"stream": True}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": None}, {"include_usage": True}, True),
        (
            {"stream": True, "stream_options": {"include_usage": False, "x": 1}},
            {"include_usage": True, "x": 1},
            True,
        ),
    ],
)
def test_streams_are_asked_for_their_count(asked: dict[str, object], sent: object, strips: bool) -> None:
    body = json.dumps({"model": "tiny", "messages": [], **asked}).encode()
    found = openai("/v1/chat/completions", body)
    assert found.strips == strips
    if sent is None:
        assert found.body == body
    else:
        assert json.loads(found.body) == {"model": "tiny", "messages": [], **asked, "stream_options": sent}


def test_all_else_of_a_stream_is_passed_on_byte_by_byte() -> None:
    body = b' { "model":"tiny","messages":[ ],"min_p":0.10,"stream" : true}'
    assert openai("/v1/chat/completions", body).body.endswith(
        b' "model":"tiny","messages":[ ],"min_p":0.10,"stream" : true}'
    )
    responses = b'{"model":"tiny","input":"x","stream":true}'
    assert openai("/v1/responses", responses).body == responses


def told(prompt: int, completion: int, *, failed: bool = False) -> Count:
    count = Count(0)
    count.take({"prompt_tokens": prompt, "completion_tokens": completion})
    count.failed = failed
    return count


def test_everything_is_there_after_an_orderly_end(tmp_path: Path) -> None:
    log = UsageLog(tmp_path / "usage.db", SystemClock())
    for _ in range(1000):
        log.add(ENTRY, "tiny", "7", told(5, 3))
    log.add(ENTRY, "tiny", "8", told(1, 0, failed=True))
    log.add(ENTRY, "tiny", "-", told(1, 0))  # reached no replica
    log.close()
    seven, eight = sorted(read_usage(tmp_path / "usage.db", 0, 2e9), key=lambda row: row.job)
    assert seven == Row(seven.hour, "ada", "Ada", "tiny", "7", 1000, 0, 0, 5000, 3000, 0)
    assert (eight.requests, eight.failed) == (1, 1)
    assert (tmp_path / "usage.db").stat().st_mode & 0o777 == 0o600
    assert read_usage(tmp_path / "usage.db", 0, seven.hour) == ()
    assert read_usage(tmp_path / "none.db", 0, 2e9) == ()


COUNTS = """
import sys, time
from pathlib import Path
from ai_how.run import SystemClock
from ai_how.security import TokenEntry
from ai_how.serving.gateway.counting import Count
from ai_how.serving.gateway.usage import UsageLog
log, entry = UsageLog(Path(sys.argv[1]), SystemClock()), TokenEntry(name="ada", sha256="0" * 64)
count = Count(0)
count.take({"prompt_tokens": 1})
for number in range(1, 10**9):
    log.add(entry, "tiny", "7", count)
    if number % 10 == 0:
        print(number, time.time(), flush=True)
        time.sleep(0.01)
"""


def test_a_kill_loses_a_second_at_most_and_two_workers_write_together(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    words = [sys.executable, "-c", COUNTS, str(path)]
    workers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    deadline = time.monotonic() + 60
    while not path.exists() or sum(row.requests for row in read_usage(path, 0, 2e9)) < 2500:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    at, counted = time.time(), 0
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        said = [line.split() for line in worker.communicate()[0].splitlines() if line.count(" ") == 1]
        counted += max((int(number) for number, when in said if float(when) < at - 1), default=0)
    assert sum(row.requests for row in read_usage(path, 0, 2e9)) >= counted > 0


def test_counts_wait_for_a_database_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "usage.db"
    path.mkdir()
    log = UsageLog(path, SystemClock())
    log.add(ENTRY, "tiny", "7", told(5, 3))
    deadline = time.monotonic() + 60
    while "is kept" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    path.rmdir()
    log.close()
    assert [row.requests for row in read_usage(path, 0, 2e9)] == [1]


def test_a_database_is_read_while_it_is_written(tmp_path: Path) -> None:
    writer = open_usage(tmp_path / "usage.db")
    writer.execute("insert into usage values (0, 'a', 'b', 'm', '1', 1, 0, 0, 1, 1, 0)")
    assert read_usage(tmp_path / "usage.db", 0, 2e9) == ()
    writer.commit()
    assert len(read_usage(tmp_path / "usage.db", 0, 2e9)) == 1
    writer.close()
    assert sqlite3.connect(tmp_path / "usage.db").execute("pragma journal_mode").fetchone() == ("wal",)
