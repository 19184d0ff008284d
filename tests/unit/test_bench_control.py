"""What goes wrong in the middle of a benchmark costs nothing of what was measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.bench import control
from ai_how.bench.control import Bench
from ai_how.bench.exchange import Exchange
from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Result
from ai_how.errors import AiHowError
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench

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
