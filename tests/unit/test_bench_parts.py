"""The small parts of a benchmark: the search, shards on one clock, requests as bytes and as tables, the monitor."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ai_how.bench.calibrate import reference_server
from ai_how.bench.control import Bench, rounds, spots
from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.interfaces import Place
from ai_how.bench.log import FileLog
from ai_how.bench.model import Calibration, Probe
from ai_how.bench.monitor import series
from ai_how.bench.parcel import packed, unpacked
from ai_how.bench.results import read_result
from ai_how.bench.sampler import packages
from ai_how.bench.samples import COLUMNS, SampleFile, has_arrow, read_table, table_of
from ai_how.bench.search import ends, following
from ai_how.bench.shard import part_of
from ai_how.bench.shards import Offset, offset_of, settled, together
from ai_how.bench.timeline import examples, timeline
from ai_how.bench.work import Address
from ai_how.errors import AiHowError, NotFound
from ai_how.run import LocalGate
from ai_how.spec.bench import BenchRecipe, Search, override, parse_bench

RECIPE = """\
version: "1.0"
kind: bench
name: sample
target: {url: "http://127.0.0.1:1"}
load: {arrivals: constant, rate: 100, seconds: 2, connections: 7}
repetitions: 3
"""


def recipe(more: str = "") -> BenchRecipe:
    return parse_bench(RECIPE + more, "r.yaml")


def place() -> Place:
    return Place(LocalGate(), Path())


# --- the search ---------------------------------------------------------------------------------------


def sought(asked: Search, truth: float) -> list[Probe]:
    probes: list[Probe] = []
    while (load := following(asked, probes)) is not None:
        probes.append(Probe(load=load, share=1.0, met=load <= truth))
        assert len(probes) < 60
    return probes


@pytest.mark.parametrize("truth", [1.0, 3.3, 47.0, 256.0, 999.0, 5000.0])
def test_the_search_comes_within_what_was_asked_of_the_truth(truth: float) -> None:
    met, missed = ends(sought(Search(low=1.0, high=10_000.0, within=0.05), truth))
    assert met is not None and missed is not None
    assert met <= truth < missed <= met * 1.0501


def test_a_search_ends_at_its_ends() -> None:
    asked = Search(low=10.0, high=40.0)
    assert [probe.load for probe in sought(asked, 1e9)] == [10, 20, 40] and ends(sought(asked, 1e9)) == (
        40,
        None,
    )
    assert [probe.load for probe in sought(asked, 1.0)] == [10] and ends(sought(asked, 1.0)) == (None, 10)


def test_clients_are_whole() -> None:
    probes = sought(Search(key="load.clients", low=1.0, high=1000.0, within=0.01), 37)
    assert ends(probes) == (37, 38) and all(probe.load == round(probe.load) for probe in probes)


def test_what_a_confirmation_takes_back_is_taken_back() -> None:
    asked = Search(low=1.0, high=100.0, within=0.5)
    probes = sought(asked, 40.0)
    met, _ = ends(probes)
    assert met is not None
    probes.append(Probe(load=met, share=0.5, met=False))
    below = following(asked, probes)
    assert ends(probes)[1] == met and below is not None and below < met


# --- points and sides ---------------------------------------------------------------------------------


def test_two_sides_take_turns_and_points_are_visited_in_every_repetition() -> None:
    asked = recipe('against: {target.url: "http://127.0.0.1:2"}\nsweep: {load.rate: [1, 2]}\n')
    order = [
        (number, one.side, one.point["load.rate"]) for number, one in rounds(asked, spots(asked, place()))
    ]
    assert order[:4] == [(1, "a", 1), (1, "b", 1), (1, "a", 2), (1, "b", 2)]
    assert order[4:6] == [(2, "b", 1), (2, "a", 1)] and len(order) == 12
    addresses = {one.side: one.place.address for one in spots(asked, place())}
    assert addresses["b"] == Address("127.0.0.1", 2)


# --- shards -------------------------------------------------------------------------------------------


def test_parts_of_a_load_make_the_whole() -> None:
    parts = [part_of(recipe("sweep: {load.rate: [5]}\n"), index, 3) for index in range(3)]
    assert sum(part.load.rate or 0 for part in parts) == pytest.approx(100)
    assert [part.load.connections for part in parts] == [3, 2, 2] and not parts[0].sweep
    closed = parse_bench(RECIPE.replace("constant, rate: 100", "closed, clients: 8"), "r.yaml")
    assert [part_of(closed, index, 3).load.clients for index in range(3)] == [3, 3, 2]


def test_clock_offsets_bound_the_truth() -> None:
    chance = random.Random(1)
    for _ in range(100):
        truth, out, back = chance.uniform(-9, 9), chance.random(), chance.random()
        found = offset_of(5.0, 5.0 + out + truth, 5.0 + out + back)
        assert abs(found.offset - truth) <= found.error + 1e-9
    moved = settled(Offset(1.0, 0.1), Offset(1.4, 0.2))
    assert moved.offset == pytest.approx(1.2) and moved.error == pytest.approx(0.4)


def test_generators_are_as_fast_as_the_slowest_and_as_late_as_the_worst() -> None:
    quick = Calibration(ceiling=9000, rate=50, lag_p50_ms=0.1, lag_p99_ms=0.2, floor_ms=0.1)
    slow = Calibration(ceiling=4000, rate=50, lag_p50_ms=0.1, lag_p99_ms=0.9, floor_ms=0.3)
    both = together([quick, slow])
    assert (both.ceiling, both.rate, both.lag_p99_ms, both.floor_ms) == (8000, 100, 0.9, 0.3)


def chats() -> list[ChatExchange]:
    return [
        ChatExchange(
            10.0 + i, 10.1 + i, 10.1 + i, 10.2 + i, 10.5 + i, 200, "", last=10.4 + i, events=3,
            tokens=None if i == 1 else 4, gaps=[0.1, 0.1], ended=True,
        )
        for i in range(4)
    ]  # fmt: skip


def test_requests_cross_a_wire_unchanged_but_for_the_clock() -> None:
    sent: list[Exchange] = [
        Exchange(1.0, 1.1, 1.2, 1.3, 1.4, 200, "", True, False),
        Exchange(2.0, 2.1, error="connection refused", resent=True),
    ]
    for made in (sent, list(chats()), []):
        back = unpacked(packed(made), 0.5)
        assert len(back) == len(made)
        for one, other in zip(made, back, strict=True):
            assert type(one) is type(other)
            for name in ("due", "woke", "sent", "first", "done"):
                time = getattr(one, name)
                assert getattr(other, name) == (time - 0.5 if time else 0.0)
            assert (one.error, one.status, one.queued, one.resent) == (
                other.error, other.status, other.queued, other.resent
            )  # fmt: skip
            if isinstance(one, ChatExchange) and isinstance(other, ChatExchange):
                assert (one.tokens, one.events, one.gaps) == (other.tokens, other.events, other.gaps)


# --- over time, and one by one ------------------------------------------------------------------------


def test_a_timeline_counts_what_was_due_answered_and_told() -> None:
    made = chats()
    found = {one.name: one for one in timeline(made)}
    width = found["due"].times[1] - found["due"].times[0]
    assert sum(found["due"].values) * width == pytest.approx(4)
    assert sum(found["answered"].values) * width == pytest.approx(3), (
        "the last slice is cut off, and left out"
    )
    assert sum(found["tokens"].values) * width == pytest.approx(12), "one server did not tell"
    assert found["latency.p50"].values[0] == pytest.approx(500)
    assert examples(made)[0] == pytest.approx((0.0, 0.1, 0.2, 0.4, 0.5))
    assert timeline([]) == () and examples([]) == ()


@pytest.mark.parametrize("kind", ["csv.gz", "parquet"])
def test_single_requests_are_kept_and_read_back(kind: str, tmp_path: Path) -> None:
    file = SampleFile(tmp_path / f"x.samples.{kind}")
    failed = Exchange(3.0, 3.1, error='a "quoted", error')
    file.add(table_of(0, chats()))
    file.add(table_of(1, [replace(failed)]))
    file.add(table_of(2, []))
    file.write()
    found = read_table(file.path)
    assert list(found) == list(COLUMNS) and found["run"] == [0, 0, 0, 0, 1]
    assert found["tokens"] == [4, None, 4, 4, None] and found["error"][4] == failed.error
    assert found["done"][0] == pytest.approx(0.5) and found["done"][4] is None
    assert found["queued"] == [False] * 5
    assert [path.name for path in tmp_path.iterdir()] == [file.path.name]


def test_what_is_no_table_of_requests_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_table(tmp_path / "none.csv.gz")
    (tmp_path / "x.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(AiHowError, match="cannot be read"):
        read_table(tmp_path / "x.csv.gz")
    with gzip.open(tmp_path / "y.csv.gz", "wt") as file:
        file.write(",".join(COLUMNS) + "\nmany,0,0\n")
    with pytest.raises(AiHowError, match="cannot be read"):
        read_table(tmp_path / "y.csv.gz")


@pytest.mark.skipif(not has_arrow(), reason="pyarrow is not installed: single requests are kept as CSV")
def test_what_is_no_parquet_or_another_table_is_told(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "x.parquet").write_bytes(b"PAR1 and what is left of it")
    with pytest.raises(AiHowError, match=r"x\.parquet cannot be read"):
        read_table(tmp_path / "x.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"price": [1]}), tmp_path / "y.parquet")
    with pytest.raises(AiHowError, match="no table of requests"):
        read_table(tmp_path / "y.parquet")


# --- the monitor --------------------------------------------------------------------------------------


def test_samples_of_a_run_are_those_of_its_time() -> None:
    def line(at: float, value: float) -> str:
        facts: dict[str, Any] = {"at": at, "values": [["cpu", "%", value, "here"]]}
        return json.dumps(facts)

    (found,) = series([line(1, 5), line(2, 6), line(3, 7), '{"at": 2.5, "val', "[]"], 1.5, 3.5)
    assert (found.name, found.unit, found.where) == ("cpu", "%", "here")
    assert found.times == (0.5, 1.5) and found.values == (6, 7)


def test_power_of_a_package_is_energy_over_time(tmp_path: Path) -> None:
    assert packages(tmp_path) is None
    (tmp_path / "intel-rapl:0").mkdir()
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.write_text("1000000\n")
    probe = packages(tmp_path)
    assert probe is not None and list(probe(1.0)) == []
    counter.write_text("21000000\n")
    assert list(probe(2.0)) == [("power", "W", 10.0, "package 0")]


def test_what_is_written_while_it_goes_on_reads_back_with_its_figures(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "r.json")
    with reference_server(LocalGate()) as address:
        one = override(recipe("again: 0\n"), {"load.seconds": 0.3})
        result = Bench(one, Place(LocalGate(), tmp_path, address), log=log).run()
    kept = read_result(tmp_path / "r.json")
    assert kept.partial == "it had not come to its end" and 1 <= len(kept.runs) <= 3
    assert {figure.name for figure in kept.figures} == {figure.name for figure in result.figures}
    assert log.finish(result).samples == log._samples.path.name
    assert len(read_table(log._samples.path)["run"]) == sum(run.sent for run in result.runs)
