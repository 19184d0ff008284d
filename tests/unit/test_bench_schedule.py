"""Schedules are absolute, repeatable, and have the rate that was asked for."""

from __future__ import annotations

from array import array
from statistics import fmean, pstdev

import pytest

from ai_how.bench import schedule
from ai_how.spec.bench import Load


def gaps(times: array[float]) -> list[float]:
    return [after - before for before, after in zip(times, times[1:], strict=False)]


def test_a_constant_rate_adds_up_no_error() -> None:
    times = schedule.constant(3, 100_000)
    assert len(times) == 300_000
    assert times[299_997] == 99_999.0, "a product, not a sum of thirds"


def test_poisson_has_exponential_gaps_and_is_repeatable() -> None:
    times = schedule.poisson(100, 200, seed=7)
    assert times == schedule.poisson(100, 200, seed=7) != schedule.poisson(100, 200, seed=8)
    assert max(times) < 200
    assert fmean(gaps(times)) == pytest.approx(0.01, rel=0.03)
    assert pstdev(gaps(times)) == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("shape", "variation"), [(0.25, 2.0), (1.0, 1.0), (16.0, 0.25)])
def test_bursts_vary_by_their_shape_at_the_same_rate(shape: float, variation: float) -> None:
    found = gaps(schedule.bursts(100, 400, shape, seed=3))
    assert fmean(found) == pytest.approx(0.01, rel=0.05)
    assert pstdev(found) / fmean(found) == pytest.approx(variation, rel=0.05)


def test_a_ramp_reaches_its_rate_and_sends_the_integral() -> None:
    times = schedule.ramp(10, 110, 10)
    assert len(times) == 600
    assert 1 / gaps(times)[0] == pytest.approx(10, rel=0.1)
    assert 1 / gaps(times)[-1] == pytest.approx(110, rel=0.01)
    assert sum(time < 5 for time in times) == pytest.approx(175, abs=1)
    assert schedule.ramp(10, 10, 10) == schedule.constant(10, 10)
    falling = schedule.ramp(110, 10, 10)
    assert len(falling) == 600 and falling[-1] < 10


def test_a_trace_begins_at_its_first_request() -> None:
    assert list(schedule.trace([1000.5, 1000.0, 1002.0])) == [0.0, 0.5, 2.0]


def test_shards_are_the_whole_and_keep_its_clock() -> None:
    times = schedule.poisson(50, 10, seed=1)
    parts = [schedule.shard(times, index, 3) for index in range(3)]
    assert sorted(time for part in parts for time in part) == list(times)


def test_each_repetition_arrives_otherwise() -> None:
    load = Load(arrivals="poisson", rate=10.0, seconds=10.0)
    assert schedule.of_load(load, 1) == schedule.of_load(load, 1) != schedule.of_load(load, 2)
