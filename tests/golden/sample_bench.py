"""A benchmark's result whose numbers are made up and fixed, for the golden report.

`python tests/golden/sample_bench.py` writes the golden file anew.
"""

from __future__ import annotations

import random
from pathlib import Path

from ai_how.bench.exchange import ChatExchange
from ai_how.bench.figures import figures, record
from ai_how.bench.interfaces import Measured
from ai_how.bench.model import Calibration, Result, RunRecord, Series
from ai_how.bench.report import html
from ai_how.spec.bench import BenchRecipe, override, parse_bench, points

GOLDEN = Path(__file__).parent / "bench"
RECIPE = """\
version: "1.0"
kind: bench
name: sample-chat
description: Chat, made up for a picture
target: {api: openai, model: tiny, url: "http://node01:8000"}
load: {rate: 10, seconds: 60}
sweep: {load.rate: [10, 20, 40]}
objective: {first_token_ms: 200, token_ms: 40}
prices: {node_hour: 3.5, nodes: 2, user_rate: 0.02}
repetitions: 3
"""
CALIBRATION = Calibration(ceiling=9000, rate=40, lag_p50_ms=0.05, lag_p99_ms=0.2, floor_ms=0.05)


def chats(rate: float, number: int) -> list[ChatExchange]:
    chance = random.Random(f"{rate}/{number}")
    made = []
    for index in range(round(rate * 30)):
        due = 1000 + index / rate
        first = 0.08 + chance.expovariate(1 / (0.02 * rate / 10))
        gap = 0.02 * (1 + rate / 80) * chance.uniform(0.9, 1.1)
        start, end = due + 0.0002 + first, due + 0.0002 + first + 7 * gap
        made.append(
            ChatExchange(
                due, due + 0.0001, due + 0.0002, start, end, 200, last=end, events=8, tokens=8,
                gaps=[gap] * 7, ended=True,
            )
        )  # fmt: skip
    return made


def run(recipe: BenchRecipe, rate: float, number: int) -> RunRecord:
    power = Series(
        name="power", unit="W", where="gpu 0", times=tuple(map(float, range(30))),
        values=tuple(200 + 3 * rate + index % 5 for index in range(30)),
    )  # fmt: skip
    taken = chats(rate, number)
    busy = 0.9 if rate == 40 and number == 2 else 0.2
    found = Measured(seconds=30.5, exchanges=taken, intended=len(taken), busy=busy, series=(power,))
    made = record(override(recipe, {"load.rate": rate}), number, 1_790_000_000.0, found)
    return made.model_copy(
        update={"point": {"load.rate": rate}, "calibration": CALIBRATION, "yardstick_ms": 1.5}
    )


def sample() -> Result:
    """The result: three loads, three runs each, one of which the generator was too busy for."""
    recipe = parse_bench(RECIPE, "sample.yaml")
    runs = tuple(
        run(recipe, float(point["load.rate"]), number) for number in (1, 2, 3) for point in points(recipe)
    )
    return Result(
        version="2.0", kind="bench-result", ai_how="0.1.0", started=1_790_000_000.0, seconds=280.0,
        recipe=recipe, address="node01:8000", service={"service": {"address": "node01:8000"}},
        environment={"machine": "login1", "processor": "A processor", "cores": 64, "memory_bytes": 2**38},
        calibration=CALIBRATION, runs=runs, figures=figures(recipe, runs),
    )  # fmt: skip


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "report.html").write_text(html([sample()]), encoding="utf-8")
