"""The load generator against a real server whose manner is known, and against bad ones."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from ai_how.bench import schedule
from ai_how.bench.calibrate import reference_server
from ai_how.bench.drive import Drive
from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.histogram import Histogram
from ai_how.bench.targets.openai import chat_body
from ai_how.bench.targets.web import http_request
from ai_how.bench.work import Address, Progress, Taken, Work
from ai_how.run import LocalGate
from ai_how.spec.bench import Prompts

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from load import SHARES, agreement, plain, table


def test_percentiles_from_the_intended_instant_are_right_and_a_closed_loop_hides_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """100 requests a second; twice as fast as in the benchmark, and a period has 180 phases."""
    for _ in range(3):
        found = agreement(100, 0.5, periods=2)
        disturbed = found.lag_p99 > 0.01 * found.exact[0.5]
        # Whatever else runs on the machine can make the server late, too; a mistake of ours comes back each time.
        if not disturbed and found.worst <= 0.02:
            break
    with capsys.disabled():
        print("", *table([found]), sep="\n")
    if disturbed:
        pytest.skip(
            "three times requests went out late by its own account: this machine is too busy to measure on"
        )
    assert found.worst <= 0.02
    assert found.closed[0.75] < 0.6 * found.exact[0.75], (
        "a closed loop does not see who would have come meanwhile"
    )
    assert found.closed[0.9] < 0.6 * found.exact[0.9]


def test_the_manner_is_what_its_formula_says() -> None:
    from load import manner

    how = manner(1.0)
    delays = sorted(how.delay(how.period * index / 100_000) for index in range(100_000))
    for share in SHARES:
        assert delays[round(share * 100_000) - 1] == pytest.approx(how.percentile(share), rel=0.001)


@pytest.fixture(scope="module")
def quick() -> Iterator[Address]:
    with reference_server(LocalGate(), "--service", "0.02", "--token", "0.005") as address:
        yield address


def chat(address: Address, tokens: int) -> Work:
    body = chat_body("none", Prompts(max_tokens=tokens), 0)
    request = http_request("POST", "/v1/chat/completions", address, body, None, "application/json")
    return Work(address, lambda _: request, ChatExchange, 8, 5, 8)


def median(values: Iterator[float]) -> float:
    return Histogram(round(value * 1e6) for value in values).percentile(0.5) / 1e6


def test_a_stream_is_timed_token_by_token(quick: Address) -> None:
    async def measure() -> Taken:
        return await Drive(chat(quick, 10)).open(schedule.constant(20, 1.5))

    found = []
    for _ in range(3):  # whatever else the machine does meanwhile
        chats = [one for one in uvloop.run(measure()).exchanges if isinstance(one, ChatExchange)]
        assert len(chats) == 30 and all(one.good and one.tokens == one.events == 10 for one in chats)
        first = median(one.first - one.sent for one in chats)
        token = median((one.last - one.first) / 9 for one in chats)
        found.append((first, token))
        if first == pytest.approx(0.020, abs=0.005) and token == pytest.approx(0.005, abs=0.001):
            return
    raise AssertionError(found)


def test_a_closed_loop_keeps_its_clients_busy(quick: Address) -> None:
    async def measure() -> Taken:
        return await Drive(plain(quick, 4)).closed(4, 0.5)

    taken = uvloop.run(measure())
    assert all(one.good for one in taken.exchanges)
    assert 40 <= len(taken.exchanges) <= 104, "four clients, 20 ms each, half a second"


def test_who_finds_no_connection_waits_and_that_time_counts(quick: Address) -> None:
    async def measure() -> Taken:
        return await Drive(plain(quick, 1)).open(schedule.constant(200, 0.25))

    taken = uvloop.run(measure())
    late = sorted(taken.exchanges, key=lambda one: one.due)[-10:]
    assert len(taken.exchanges) == 50 and all(one.good for one in taken.exchanges)
    assert min(one.done - one.due for one in late) > 0.2, "long after they were due"
    assert min(one.done - one.sent for one in late) < 0.2, "served quickly"


# --- bad targets --------------------------------------------------------------------------------------

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


async def against(answer: object, make: Callable[[Address], Work], rate: float, seconds: float) -> list[str]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)  # type: ignore[arg-type]
    address = Address(*server.sockets[0].getsockname()[:2])
    taken = await Drive(make(address)).open(schedule.constant(rate, seconds))
    server.close()
    return sorted({one.error for one in taken.exchanges})


def test_rubbish_closing_and_silence_are_told_apart() -> None:
    async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"220 mail.example ESMTP\r\n")

    async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    def brief(address: Address) -> Work:
        return Work(address, plain(address, 1).request, Exchange, 4, 0.2, 4)

    assert uvloop.run(against(rubbish, brief, 20, 0.2)) == ["no HTTP"]
    assert uvloop.run(against(closes, brief, 20, 0.2)) == ["closed by the target"]

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(2 * b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHT")

    assert uvloop.run(against(silent, brief, 20, 0.2)) == ["timed out"]
    assert uvloop.run(against(twice, brief, 20, 0.2)) == ["no HTTP"], "whose would the second answer be?"
    assert uvloop.run(against(more, brief, 20, 0.2)) == ["no HTTP"]


def test_a_request_that_met_a_closing_connection_is_sent_once_more() -> None:
    """The target answers one request on each connection, says that it keeps it, and closes at the second."""

    async def coy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(4096):
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n")
            await reader.read(4096)
        writer.close()

    async def measure() -> Taken:
        server = await asyncio.start_server(coy, "127.0.0.1", 0)
        work = plain(Address(*server.sockets[0].getsockname()[:2]), 1)
        taken = await Drive(work).open(schedule.constant(50, 0.2))
        server.close()
        return taken

    taken = uvloop.run(measure())
    assert len(taken.exchanges) == 10 and all(one.good for one in taken.exchanges)
    assert sum(one.resent for one in taken.exchanges) == 9


def test_a_target_that_is_gone_leaves_nobody_waiting_for_a_connection() -> None:
    """It dies while far more requests wait than there may be connections, and too near the end to count as down."""
    there: list[asyncio.StreamWriter] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.append(writer)
        await reader.read()

    async def measure() -> Taken:
        server = await asyncio.start_server(slow, "127.0.0.1", 0)

        def die() -> None:
            server.close()
            for one in there:
                one.transport.abort()

        asyncio.get_running_loop().call_later(0.3, die)
        work = plain(Address(*server.sockets[0].getsockname()[:2]), 2)
        return await asyncio.wait_for(Drive(work).open(schedule.constant(200, 0.5)), 30)

    taken = uvloop.run(measure())
    assert len(taken.exchanges) == 100 and all(one.error for one in taken.exchanges)


def test_an_answer_that_is_no_stream_is_no_chat() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>")

    found = uvloop.run(against(page, lambda address: chat(address, 4), 20, 0.2))
    assert found == ["no token in the stream"]


def test_a_run_that_is_stopped_keeps_what_it_has(quick: Address) -> None:
    async def measure() -> Taken:
        def heard(progress: Progress) -> None:
            if progress.good:
                drive.stop("enough")

        drive = Drive(plain(quick, 4), heard)
        return await drive.open(schedule.constant(100, 60))

    taken = uvloop.run(measure())
    assert taken.stopped == "enough" and taken.seconds < 20
    assert 0 < len(taken.exchanges) < 2000 and all(one.good for one in taken.exchanges)
