"""What goes wrong in the middle of a benchmark costs nothing of what was measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.bench import control
from ai_how.bench.answers import answers
from ai_how.bench.control import Bench
from ai_how.bench.exchange import Exchange
from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.load import INTERRUPTED
from ai_how.bench.model import Calibration, Result
from ai_how.bench.report.render import headline
from ai_how.cli.bench_show import tell
from ai_how.errors import AiHowError
from ai_how.run import LocalGate
from ai_how.spec.bench import BenchRecipe, parse_bench

RECIPE = """\
version: "1.0"
kind: bench
name: sample
target: {url: "http://127.0.0.1:1"}
load: {rate: 100, seconds: 1, arrivals: constant}
repetitions: 2
"""


def measured(busy: float = 0.1) -> Measured:
    found = []
    for index in range(100):
        due = 10 + index / 100
        found.append(Exchange(due, due, due + 0.0001, due + 0.001, due + 0.001, 200))
    return Measured(seconds=1.0, exchanges=found, intended=100, busy=busy)


class Played:
    """A target, its service and its client in one, whose runs are what ``plays`` has: an exception is raised."""

    api = "http"

    def __init__(self, *plays: Measured | BaseException, stop: Exception | None = None) -> None:
        self._plays, self._stop = list(plays), stop

    def service(self, *_: Any) -> Played:
        return self

    client = service

    def start(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        if self._stop is not None:
            raise self._stop

    def calibrate(self) -> None:
        return None

    def run(self, number: int, heard: Any = None) -> Measured:
        play = self._plays.pop(0)
        if isinstance(play, BaseException):
            raise play
        return play

    def close(self) -> None:
        """It holds nothing."""


def played(
    target: Played, monkeypatch: pytest.MonkeyPatch, folder: Path, said: list[str] | None = None
) -> Result:
    monkeypatch.setattr(control, "target_of", lambda _: target)
    say = (said if said is not None else []).append
    return Bench(parse_bench(RECIPE, "r.yaml"), Place(LocalGate(), folder), say=say).run()


@pytest.mark.parametrize(("error", "told"), [
    (OSError("refused"), "took no connection before run 2"),
    (AiHowError("the engine said no"), "run 2 of 2 could not be measured: the engine said no"),
    (KeyError("x"), "an error that nobody foresaw: KeyError('x')"),
    (KeyboardInterrupt(), "interrupted"),
])  # fmt: skip
def test_what_ends_a_later_run_leaves_the_earlier_one(
    error: BaseException, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = played(Played(measured(), error), monkeypatch, tmp_path)
    assert told in (result.partial or "") and len(result.runs) == 1 and result.figures


@pytest.mark.parametrize("error", [OSError("refused"), AiHowError("no"), KeyError("x")])
def test_a_run_that_could_not_be_measured_again_is_kept_with_the_reason_against_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = played(Played(measured(busy=0.99), error), monkeypatch, tmp_path)
    assert result.partial and len(result.runs) == 1 and not result.spoilt
    assert not any(figure.ok for figure in result.figures)


def test_before_anything_was_measured_it_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(AiHowError):
        played(Played(AiHowError("no")), monkeypatch, tmp_path)
    with pytest.raises(KeyError):
        played(Played(KeyError("x")), monkeypatch, tmp_path)


def test_a_service_that_does_not_go_away_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    target = Played(measured(), measured(), stop=AiHowError("scancel said no"))
    result = played(target, monkeypatch, tmp_path, said)
    assert result.partial is None and len(result.runs) == 2
    assert "the service could not be taken down: scancel said no" in said[-1]
    target = Played(measured(), measured(), stop=KeyboardInterrupt())  # type: ignore[arg-type]
    assert len(played(target, monkeypatch, tmp_path).runs) == 2


# --- the search ---------------------------------------------------------------------------------------

SEARCH = """\
version: "1.0"
kind: bench
name: sample
target: {url: "http://127.0.0.1:1"}
load: {rate: 100, seconds: 1, arrivals: constant}
objective: {latency_ms: 10}
search: {low: 10, high: 400, within: 0.1}
repetitions: 3
"""


class Bears(Played):
    """Bears so many requests a second within 10 ms; ``odd`` are the runs, from 0, that come out the other way."""

    def __init__(self, most: float, odd: tuple[int, ...] = (), ends: int | None = None) -> None:
        super().__init__()
        self.most, self.odd, self.ends, self.loads = most, odd, ends, list[float]()

    def client(self, recipe: BenchRecipe, place: Any) -> Asks:
        return Asks(self, recipe.load.rate or 0.0)


class Asks(Played):
    """One client of it."""

    def __init__(self, target: Bears, rate: float) -> None:
        super().__init__()
        self._target, self._rate = target, rate

    def calibrate(self) -> Any:
        return Calibration(ceiling=1e6, floor_ms=0.1)

    def run(self, number: int, heard: Any = None) -> Measured:
        target, at = self._target, len(self._target.loads)
        target.loads.append(self._rate)
        took = 0.001 if (self._rate <= target.most) != (at in target.odd) else 0.1
        found = [
            Exchange(due, due, due + 0.0001, due + took, due + took, 200)
            for due in (10 + index / self._rate for index in range(max(50, round(self._rate))))
        ]
        stopped = INTERRUPTED if at == target.ends else None
        return Measured(seconds=1.0, exchanges=found, intended=len(found), busy=0.1, stopped=stopped)


def sought(
    target: Bears, monkeypatch: pytest.MonkeyPatch, folder: Path, more: str = "", log: Any = None
) -> Result:
    monkeypatch.setattr(control, "target_of", lambda _: target)
    return Bench(parse_bench(SEARCH + more, "r.yaml"), Place(LocalGate(), folder), log=log).run()


@pytest.mark.parametrize("odd", [(), (0,), (2,), (3,)])
def test_one_run_that_misses_by_chance_does_not_end_a_search_far_below_the_truth(
    odd: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (found,) = sought(Bears(150, odd), monkeypatch, tmp_path).saturation
    assert found.met is not None and found.missed is not None
    assert found.met <= 150 < found.missed <= 1.11 * found.met and len(found.share) == 3


class Kept:
    """A log in memory."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def samples(self, run: int, exchanges: Any) -> None:
        self.rows.append(run)

    def keep(self, result: Result) -> None:
        """Nothing: the samples are what is looked at."""


def test_what_a_confirmation_takes_back_stays_in_the_record_and_touches_no_other_side(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Side b bears all; at 20 requests a second side a is lucky while it is tried and misses when it is confirmed."""

    class Sides(Bears):
        def client(self, recipe: BenchRecipe, place: Any) -> Asks:
            return Asks(self if recipe.target.url == "http://127.0.0.1:1" else both, recipe.load.rate or 0.0)

    log, both = Kept(), Bears(20)
    target = Sides(10, odd=(1, 2))  # 10, then 20 and 40 by luck
    result = sought(target, monkeypatch, tmp_path, 'against: {target.url: "http://127.0.0.1:2"}\n', log)
    first, second = result.saturation
    assert first.met is not None and 10 <= first.met < 11 and second.met is not None and 20 <= second.met < 22
    assert log.rows == list(range(len(result.runs))), "the single requests of a run are found by its place"
    confirmed = [(run.side, run.point["load.rate"]) for run in result.runs if run.purpose == "run"]
    assert confirmed == [("a", first.met)] * 3 + [("b", second.met)] * 3
    assert len(target.loads) + len(both.loads) == len(result.runs)


def test_a_search_that_was_cut_off_has_an_answer_that_nobody_may_quote(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = sought(Bears(150, ends=3), monkeypatch, tmp_path)
    (found,) = result.saturation
    assert result.partial and found.met == 40 and found.share == ()
    assert [one.ok for one in answers(result)] == [False]
    assert "40" not in "".join(map(str, headline(result)))
    tell(result, False)
    assert "load.rate 40 meets the objective (not confirmed)" in capsys.readouterr().out


def test_a_search_goes_on_below_what_the_generator_cannot_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Asks, "calibrate", lambda _: Calibration(ceiling=65.0, floor_ms=0.1))
    (found,) = sought(Bears(1e9), monkeypatch, tmp_path).saturation
    assert found.met is not None and found.met < 65 / 1.4
    assert any("no headroom" in reason for probe in found.probes for reason in probe.reasons)


def test_the_load_of_the_second_side_is_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = RECIPE + "objective: {latency_ms: 10}\nagainst: {load.rate: 60}\n"
    monkeypatch.setattr(control, "target_of", lambda _: Bears(1000))
    result = Bench(parse_bench(text, "r.yaml"), Place(LocalGate(), tmp_path)).run()
    assert [one.value for one in answers(result)] == [100, 60]
