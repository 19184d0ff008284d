"""What MLflow gets of a benchmark: names that it takes, and all of a result or none of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
from test_bench_verdict import recipe, result

from ai_how.bench.model import Result
from ai_how.bench.tracked import metric, track
from ai_how.client.tracking import Tracking
from ai_how.errors import AiHowError

#: What every MLflow takes in the name of a metric.
TAKEN = re.compile(r"[/\w.\- ]+")


class Recorded:
    """What an MLflow was told. It refuses what it does not take, as the real one does."""

    def __init__(self, silent: bool = False) -> None:
        self.silent, self.runs, self.metrics = silent, [], {}  # type: ignore[var-annotated]

    def new_run(self, *_: Any) -> str:
        self.runs.append("one")
        return "one"

    def params(self, *_: Any) -> None:
        """Not looked at."""

    artifacts = params

    def close(self, run_id: str, state: str, metrics: dict[str, float], tags: dict[str, str]) -> None:
        if self.silent or not all(TAKEN.fullmatch(name) for name in metrics):
            raise AiHowError("MLflow did not do it")
        self.metrics, self.state, self.tags = metrics, state, tags

    def discard(self, run_id: str) -> None:
        self.runs.remove(run_id)


def swept() -> Result:
    made = result(spec=recipe("sweep: {load.rate: [50]}\n"))
    points = tuple(
        one.model_copy(update={"point": {"load.rate": 50, "target.model": "a:b"}}) for one in made.figures
    )
    odd = points[0].model_copy(update={"name": "recall.ef=16.filtered", "side": "b"})
    return made.model_copy(update={"figures": (*points, odd), "partial": "interrupted"})


def test_figures_of_points_and_settings_have_names_that_mlflow_takes() -> None:
    there = Recorded()
    made = swept()
    assert track(cast(Tracking, there), made, Path("r.json")) == "one" and there.runs == ["one"]
    assert there.state == "CANCELLED" and there.tags["partial"] == "interrupted"
    trusted = [one for one in made.figures if one.ok]
    assert len(there.metrics) == len(trusted) > 2
    assert metric(made.figures[-1]) == "b/recall.ef 16.filtered at load.rate 50 target.model a b"


def test_what_mlflow_does_not_take_leaves_no_run_under_way() -> None:
    there = Recorded(silent=True)
    with pytest.raises(AiHowError):
        track(cast(Tracking, there), swept(), Path("r.json"))
    assert there.runs == []
