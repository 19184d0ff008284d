"""Warm-up, steadiness, intervals and comparisons, against series whose truth is known."""

from __future__ import annotations

import math
import random

import pytest

from ai_how.bench.statistics import ALPHA, compare, detectable, enough_runs, interval, student
from ai_how.bench.steady import FEWEST, judge, mser5, trend


def noise(count: int, seed: int, level: float = 100.0) -> list[float]:
    chance = random.Random(seed)
    return [level + chance.expovariate(0.1) for _ in range(count)]


def test_a_planted_warm_up_is_cut_about_where_it_ends() -> None:
    series = noise(1000, 1)
    warm = [value + 500 * math.exp(-index / 40) for index, value in enumerate(series)]
    found = judge(warm)
    assert found.ok and 100 <= found.cut <= 300


def test_a_steady_series_loses_little() -> None:
    cuts = [judge(noise(1000, seed)).cut for seed in range(20)]
    assert sorted(cuts)[10] <= 100


def test_what_does_not_settle_is_not_steady() -> None:
    rising = [value + index for index, value in enumerate(noise(400, 2))]
    assert mser5(rising) is None
    assert not judge(rising).ok


def test_single_slow_requests_late_in_a_run_are_no_warm_up() -> None:
    seen = 0
    for seed in range(30):
        chance = random.Random(seed)
        series = [10 + chance.gauss(0, 0.1) for _ in range(200)]
        for _ in range(3):
            series[chance.randrange(90, 110)] = 60.0
        seen += mser5(series) is None
        assert judge(series).ok
    assert seen > 3, "the case is met"


def test_a_slow_drift_is_found_and_noise_is_none() -> None:
    drifting = [value * (1 + 0.3 * index / 2000) for index, value in enumerate(noise(2000, 3))]
    drift, surely = trend(drifting)
    assert surely and drift == pytest.approx(0.3, abs=0.1)
    assert sum(trend(noise(2000, seed))[1] for seed in range(100)) <= 4


def test_too_few_requests_tell_nothing() -> None:
    found = judge(noise(FEWEST - 1, 4))
    assert not found.ok and "too few" in found.why


def test_the_interval_holds_the_mean_and_is_repeatable() -> None:
    values = [10.0, 11.0, 9.5, 10.5, 10.2]
    bounds = interval(values)
    assert bounds == interval(values) and bounds is not None
    assert bounds[0] < sum(values) / 5 < bounds[1]
    assert interval(values[:2]) is None


def runs(seed: int, count: int, factor: float = 1.0, spread: float = 0.02) -> dict[str, list[float]]:
    chance = random.Random(seed)
    return {name: [factor * chance.gauss(50, 50 * spread) for _ in range(count)] for name in ("p50", "p99")}


LOWER = {"p50": "lower", "p99": "lower"}


def test_a_planted_slowdown_of_a_tenth_is_found() -> None:
    missed = sum(
        not any(change.worse_by(0.0) for change in compare(runs(seed, 5), runs(1000 + seed, 5, 1.1), LOWER))  # type: ignore[arg-type]
        for seed in range(40)
    )
    print(f"a slowdown of 10 % was missed in {missed} of 40 comparisons")
    assert missed <= 1


def test_no_change_is_called_one_at_most_once_in_twenty() -> None:
    called = sum(
        any(change.found for change in compare(runs(seed, 5), runs(1000 + seed, 5), LOWER))  # type: ignore[arg-type]
        for seed in range(400)
    )
    print(f"no change was called a change in {called} of 400 comparisons of two figures each")
    # 20 are expected at most; the allowance is three standard deviations of that count.
    assert called <= 400 * ALPHA + 3 * math.sqrt(400 * ALPHA * (1 - ALPHA))


def slots(seed: int, count: int, kind: str, taking_after: float) -> list[float]:
    """Runs of one machine, one after the other: each takes after the one before, and some are far off."""
    chance = random.Random(f"{seed} {kind}")
    made, level = [], 0.0
    for _ in range(count):
        step = chance.gauss(0, 1)
        if kind == "heavy tails":
            step /= math.sqrt(chance.gammavariate(1, 1))
        elif kind == "outliers" and chance.random() < 0.1:
            step += 20
        level = taking_after * level + math.sqrt(1 - taking_after**2) * step
        made.append(50 + level)
    return made


def in_turns(values: list[float]) -> tuple[list[float], list[float]]:
    """Dealt out as a benchmark's own rounds are: a b, b a, b a, a b."""
    pairs = [
        values[index : index + 2][:: 1 if index // 2 % 4 in (0, 3) else -1]
        for index in range(0, len(values), 2)
    ]
    return [one for one, _ in pairs], [two for _, two in pairs]


@pytest.mark.parametrize("taking_after", [0.0, 0.6])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "outliers"])
@pytest.mark.parametrize("count", [4, 6])
def test_whatever_the_noise_no_change_is_called_one_at_most_once_in_twenty(
    count: int, kind: str, taking_after: float
) -> None:
    rounds, called = 400, 0
    for seed in range(rounds):
        sides = [in_turns(slots(2 * seed + number, 2 * count, kind, taking_after)) for number in range(2)]
        before, after = ({str(number): side[which] for number, side in enumerate(sides)} for which in (0, 1))
        found = compare(before, after, {"0": "lower", "1": "lower"}, in_turns=True)
        called += any(change.found for change in found)
    print(f"no change was called a change in {called} of {rounds}")
    assert called <= rounds * ALPHA + 3 * math.sqrt(rounds * ALPHA * (1 - ALPHA))


@pytest.mark.parametrize(("count", "turns"), [(5, False), (6, True), (10, True)])
def test_what_would_be_found_is_found_about_as_often_as_said(count: int, turns: bool) -> None:
    chance, found, tries = random.Random(1), 0, 200

    def normal(level: float) -> list[float]:
        return [chance.gauss(level, 1) for _ in range(count)]

    told = [detectable(normal(50), normal(50), in_turns=turns) or 0.0 for _ in range(200)]
    least = sum(told) / len(told)
    for _ in range(tries):
        before, after = {"x": normal(50)}, {"x": normal(50 * (1 + least))}
        found += compare(before, after, {"x": "lower"}, in_turns=turns)[0].found
    print(f"a change of {least:.1%} was found in {found} of {tries}")
    assert 0.65 <= found / tries <= 0.95


@pytest.mark.parametrize("count", [3, 5, 10])
def test_an_interval_holds_the_truth_as_often_as_it_says(count: int) -> None:
    chance, tries = random.Random(2), 250
    bounds = [interval([chance.gauss(50, 1) for _ in range(count)], seed) for seed in range(tries)]
    held = sum(low <= 50 <= high for low, high in filter(None, bounds))
    print(f"{held} of {tries} intervals of {count} runs hold the truth")
    assert 0.91 <= held / tries <= 0.985


def test_no_interval_of_times_begins_below_nothing() -> None:
    low, high = interval([0.1, 0.1, 9.0]) or (1.0, 1.0)
    assert low == 0.0 and high > 9


def test_students_t_is_that_of_the_tables() -> None:
    for degrees, value in (
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (10, 2.228),
        (30, 2.042),
        (120, 1.980),
    ):
        assert student(0.975, degrees) == pytest.approx(value, abs=6e-4)
    assert student(0.8, 5) == pytest.approx(0.9195, abs=1e-4)


def test_a_change_for_the_better_is_found_and_is_no_regression() -> None:
    (change, _) = compare(runs(1, 5), runs(2, 5, 0.8), LOWER)  # type: ignore[arg-type]
    assert change.found and change.change == pytest.approx(-0.2, abs=0.03)
    assert not change.worse_by(0.0)
    (change, _) = compare(runs(1, 5), runs(2, 5, 0.8), {"p50": "higher", "p99": "higher"})
    assert change.worse_by(0.0) and not change.worse_by(0.5)


def test_the_same_runs_are_no_change() -> None:
    same = {"p50": [1.0] * 5}
    (change,) = compare(same, same, {"p50": "lower"})
    assert change.chance == 1.0 and not change.found


def test_a_step_without_any_noise_is_a_change() -> None:
    (change,) = compare({"p50": [1.0] * 5}, {"p50": [2.0] * 5}, {"p50": "lower"})
    assert change.chance == pytest.approx(2 / 252) and change.worse_by(0.5)


def test_many_runs_are_dealt_at_random() -> None:
    (first, _) = compare(runs(1, 12), runs(2, 12, 1.1), LOWER)  # type: ignore[arg-type]
    assert first.found


@pytest.mark.parametrize(("runs_each", "enough"), [(1, False), (3, False), (4, True), (5, True)])
def test_how_many_runs_can_show_anything(runs_each: int, enough: bool) -> None:
    assert enough_runs(runs_each, runs_each) is enough


def test_what_would_be_found_shrinks_with_the_runs() -> None:
    few, many = (detectable(runs(1, n)["p50"], runs(2, n)["p50"]) for n in (4, 40))
    assert few is not None and many is not None and many < few < 0.2
    assert detectable([1.0], [1.0]) is None


def drifting(seed: int, count: int, factor: float) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Two sides measured in turns while the machine gets slower by a third over the hour."""
    chance = random.Random(seed)
    sides: tuple[dict[str, list[float]], dict[str, list[float]]] = ({"p50": []}, {"p50": []})
    for index in range(count):
        level = 50 * (1 + index / count / 3)
        for side, times in zip(sides, (1.0, factor), strict=True):
            side["p50"].append(times * level * chance.gauss(1, 0.01))
    return sides


def test_runs_in_turns_show_a_change_that_a_drift_would_hide() -> None:
    found = hidden = wrong = 0
    for seed in range(40):
        before, after = drifting(seed, 8, 1.05)
        found += compare(before, after, {"p50": "lower"}, in_turns=True)[0].found
        if seed < 6:
            hidden += not compare(before, after, {"p50": "lower"})[0].found
        before, after = drifting(1000 + seed, 8, 1.0)
        wrong += compare(before, after, {"p50": "lower"}, in_turns=True)[0].found
    assert found == 40 and hidden == 6 and wrong <= 5


def test_fewer_pairs_than_can_show_anything_are_compared_as_any_runs() -> None:
    before, after = drifting(1, 5, 1.0)
    assert compare(before, after, {"p50": "lower"}, in_turns=True) == compare(before, after, {"p50": "lower"})
