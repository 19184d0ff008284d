"""A figure carries its verdict, and one that fails is in no comparison."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ai_how.bench.compare import compared
from ai_how.bench.exchange import ChatExchange, Exchange
from ai_how.bench.export import openmetrics
from ai_how.bench.figures import figures, keeps, record
from ai_how.bench.histogram import Histogram
from ai_how.bench.interfaces import Measured
from ai_how.bench.model import Calibration, Result, RunRecord, Value
from ai_how.bench.report import html
from ai_how.bench.results import write_result
from ai_how.bench.verdict import checks, drift, reasons_of_figure
from ai_how.cli import main
from ai_how.errors import CouldNotTell, NotFound
from ai_how.spec.bench import BenchRecipe, Objective, parse_bench

RECIPE = """\
version: "1.0"
kind: bench
name: sample
target: {url: "http://127.0.0.1:1"}
load: {rate: 100, seconds: 20, arrivals: constant}
"""
CALIBRATION = Calibration(ceiling=10_000, rate=100, lag_p50_ms=0.05, lag_p99_ms=0.1, floor_ms=0.05)


def recipe(more: str = "") -> BenchRecipe:
    return parse_bench(RECIPE + more, "r.yaml")


def exchanges(
    seed: int, count: int = 2000, level: float = 0.05, lag: float = 0.0001, failed: int = 0
) -> list[Exchange]:
    chance = random.Random(seed)
    found = []
    for index in range(count):
        due = 1000 + index / 100
        sent = due + lag
        done = sent + level * chance.uniform(0.9, 1.1)
        found.append(Exchange(due, due + lag, sent, done, done, 200, "status 500" if index < failed else ""))
    return found


def taken(found: list[Exchange], **more: Any) -> Measured:
    return Measured(**{"exchanges": found, "intended": 2000, "seconds": 20.0, "busy": 0.1} | more)


def run(number: int = 1, spec: BenchRecipe | None = None, **more: Any) -> RunRecord:
    taken_more = {key: more.pop(key) for key in ("busy", "stopped") if key in more}
    made = record(spec or recipe(), number, 0.0, taken(exchanges(number, **more), **taken_more))
    return made.model_copy(update={"calibration": CALIBRATION})


def result(
    level: float = 0.05, runs: int = 5, lag: float = 0.0001, spec: BenchRecipe | None = None
) -> Result:
    made = [run(number + round(level * 1000), count=600, level=level, lag=lag) for number in range(runs)]
    spec = spec or recipe()
    return Result(
        version="2.0", kind="bench-result", ai_how="0", started=0, seconds=1, recipe=spec, address="x:1",
        environment={"machine": "here"}, calibration=CALIBRATION, runs=tuple(made),
        figures=figures(spec, made),
    )  # fmt: skip


def reasons(made: RunRecord, calibration: Calibration | None = CALIBRATION, more: str = "") -> set[str]:
    run_ = made.model_copy(update={"calibration": calibration})
    return {reason for figure in figures(recipe(more), [run_]) for reason in figure.reasons}


def test_a_clean_run_has_figures_that_can_be_trusted() -> None:
    found = {figure.name: figure for figure in figures(recipe(), [run(), run(2), run(3)])}
    assert found["latency.p50"].ok and found["latency.p50"].value == pytest.approx(50.1, rel=0.01)
    assert found["latency_sent.p50"].value == pytest.approx(50.0, rel=0.01)
    assert found["throughput"].value == pytest.approx(100, rel=0.01)
    assert found["latency.p50"].low is not None and len(found["latency.p50"].runs) == 3
    assert found["latency.p99.9"].reasons == ("6,000 samples; 10,000 are needed for this percentile",)


@pytest.mark.parametrize(("made", "said"), [
    ({"lag": 0.005}, "went out up to 5.00 ms late"),
    ({"failed": 100}, "5.0% of the requests failed (status 500: 100)"),
    ({"busy": 0.95}, "used 95% of its core"),
    ({"stopped": "the target went down"}, "ended early: the target went down"),
    ({"count": 40}, "too few to tell a steady state"),
])  # fmt: skip
def test_what_is_wrong_with_a_run_is_a_reason_of_all_its_figures(made: dict[str, Any], said: str) -> None:
    found = figures(recipe(), [run(**made)])
    assert found and all(any(said in reason for reason in figure.reasons) for figure in found)


def test_a_generator_without_headroom_or_calibration() -> None:
    slow = CALIBRATION.model_copy(update={"ceiling": 120})
    assert any("1.20 times the load" in reason for reason in reasons(run(), slow))
    assert any("not calibrated" in reason for reason in reasons(run(), None))


def test_lag_counts_against_the_latency_it_is_part_of() -> None:
    """3 ms late is much for an answer of 50 ms and nothing for one of 5 s."""
    assert reasons(run(lag=0.003)) and not any(
        "late" in reason for reason in reasons(run(lag=0.003, level=5.0))
    )


def test_requests_that_fell_behind_the_schedule() -> None:
    late = exchanges(1)
    for index, one in enumerate(late):
        one.queued = index > 20
        one.sent += index / 1000
        one.done += index / 1000
    found = reasons(record(recipe(), 1, 0.0, taken(late)))
    assert any("of the rate intended" in reason for reason in found)
    assert any("had to wait for a connection" in reason for reason in found)


def test_a_ramp_has_no_percentile_of_one_load() -> None:
    found = figures(parse_bench(RECIPE.replace("constant", "ramp, to_rate: 200"), "r"), [run()])
    assert not any(figure.ok for figure in found)


def test_failed_requests_are_in_no_latency() -> None:
    fast = exchanges(1)
    for one in fast[:10]:
        one.error, one.done = "closed by the target", 0.0
    made = record(recipe("warmup: none\n"), 1, 0.0, taken(fast))
    assert len(made.histogram("latency")) == 1990 and made.errors == {"closed by the target": 10}


def test_the_objective_is_kept_or_not() -> None:
    one = Exchange(0.0, 0.0, 0.0, 0.2, 0.3, 200)
    assert keeps(Objective(latency_ms=301.0, first_token_ms=201.0), one)
    assert not keeps(Objective(latency_ms=299.0), one)
    assert not keeps(Objective(first_token_ms=199.0), one)
    assert not keeps(Objective(token_ms=1000.0), one), "what cannot be told is not kept"


def test_two_results_that_differ() -> None:
    found = compared(result(), result(0.056))
    assert found.outcome == "worse"
    assert [change.figure for change in found.changes if change.worse_by(0.0)] == [
        "latency.p50",
        "latency.p99",
    ]
    assert compared(result(), result(0.056), allowed=0.2).outcome == "changed"
    assert compared(result(0.056), result()).outcome == "changed", "for the better"
    assert compared(result(), result()).outcome == "no change"


def test_a_figure_that_fails_its_verdict_is_left_out() -> None:
    found = compared(result(), result(), ["latency.p50", "latency.p99.9"])
    assert list(found.left_out) == ["latency.p99.9"]
    with pytest.raises(CouldNotTell, match="no figure is left"):
        compared(result(), result(lag=0.01))


def test_two_results_of_two_sides_are_compared_side_by_side() -> None:
    """What became slower is side a alone: side b must not stand for both."""

    def sides(first: float, second: float) -> Result:
        made = result(spec=recipe("against: {load.connections: 3}\n"))
        plain = next(one for one in made.figures if one.key == "latency.p50")
        runs = (1.0, 1.01, 0.99, 1.005, 0.995)
        return made.model_copy(update={"figures": tuple(
            plain.model_copy(update={"side": side, "runs": tuple(value * one for one in runs)})
            for side, value in (("a", first), ("b", second))
        )})  # fmt: skip

    found = compared(sides(10, 5), sides(20, 5))
    assert found.outcome == "worse"
    assert [(one.figure, one.found) for one in found.changes] == [
        ("latency.p50, side a", True), ("latency.p50, side b", False),
    ]  # fmt: skip
    assert len(compared(sides(10, 5), sides(20, 5), ["latency.p50, side a"]).changes) == 1
    assert len(compared(sides(10, 5), sides(20, 5), ["latency.p50"]).changes) == 2


def test_a_figure_that_fewer_runs_have_is_left_out_with_the_reason() -> None:
    """A second tool that gave no opinion after one run, say."""
    made = result()
    last = made.figures[1]
    fewer = last.model_copy(update={"name": "tool.latency", "runs": last.runs[1:], "ok": True, "reasons": ()})
    both = made.model_copy(update={"figures": (*made.figures, fewer)})
    found = compared(both, both, ["latency.p50", "latency.p99", "tool.latency"])
    assert [one.figure for one in found.changes] == ["latency.p50", "latency.p99"]
    assert found.left_out == {"tool.latency": ("it was measured in 4 and 4 runs, and others in 5 and 5",)}
    assert [one.figure for one in compared(both, both, ["tool.latency"]).changes] == ["tool.latency"]


def test_what_cannot_be_compared_is_not() -> None:
    with pytest.raises(CouldNotTell, match="cannot show a change"):
        compared(result(runs=3), result(runs=3))
    with pytest.raises(CouldNotTell, match="different ways") as caught:
        compared(result(), result(spec=recipe("timeout: 5\n")))
    assert caught.value.cause == "timeout: 60.0 and 5.0"
    with pytest.raises(NotFound, match=r"latency\.p42"):
        compared(result(), result(), ["latency.p42"])


def test_a_result_reads_back_as_it_was() -> None:
    made = result()
    assert Result.model_validate_json(made.model_dump_json()) == made


def test_a_clock_that_goes_back_is_a_failed_request_and_no_latency() -> None:
    found = exchanges(1)
    for one in found[:30]:
        one.done = one.sent - 0.01
    made = record(recipe(), 1, 0.0, taken(found))
    assert made.errors == {"the clock went back": 30} and made.good == 1970
    assert any("1.5% of the requests failed" in reason for reason in reasons(made))


@pytest.mark.parametrize("which", ["woke", "sent", "first", "done"])
def test_a_clock_that_goes_back_anywhere_is_no_more_than_a_failed_request(which: str) -> None:
    found = exchanges(1)
    for one in found[:30]:
        setattr(one, which, one.due - 0.5)
    made = record(recipe(), 1, 0.0, taken(found))
    assert made.errors == {"the clock went back": 30} and made.sent == 2000
    lag = made.histogram("lag")
    assert len(lag) == 1970 and lag.high < 1e9


def test_a_clock_that_goes_back_within_a_stream_is_a_failed_request() -> None:
    found = [ChatExchange(one.due, one.woke, one.sent, one.first, one.done, 200, last=one.done, events=3, gaps=[0.001])
             for one in exchanges(1)]  # fmt: skip
    found[7].gaps = [0.3, -0.2]
    found[8].last = found[8].done + 1
    made = record(recipe(), 1, 0.0, taken(list(found)))
    assert made.errors == {"the clock went back": 2} and made.good == 1998


def test_a_machine_that_changed_between_runs_is_told() -> None:
    times = (1.0, 1.05, 1.4)
    runs = [run(index).model_copy(update={"yardstick_ms": time}) for index, time in enumerate(times)]
    assert "took 1.0 ms before one run and 1.4 ms before another" in drift(runs)[0]
    assert not any(figure.ok for figure in figures(recipe(), runs))
    assert drift(runs[:2]) == ()


def test_two_counts_of_tokens_that_disagree_fail_what_counts_tokens() -> None:
    off = run().model_copy(update={"tokens_agree": 0.9, "tokens_known": 1.0})
    assert reasons_of_figure("tokens", None, 100, [off]) == (
        "the model's own tokenizer counts 90.0% of the tokens that the server tells",
    )
    assert reasons_of_figure("latency", 0.5, 100, [off]) == ()


def test_tokens_that_nobody_could_count_again_fail_nothing_and_are_told() -> None:
    notes = {"tokens_not_counted": "no answer can be counted again", "tokens_no_text": "2 of 2 answers"}
    unsure = run().model_copy(update={"tokens_known": 1.0, "notes": notes})
    found = {check.name: check for check in checks(recipe(), unsure)}["tokens"]
    assert found.told == (
        "told for 100% of the answers; they were not counted again: no answer can be counted again; 2 of 2 answers"
    )
    assert not found.reason and reasons_of_figure("tokens", None, 100, [unsure]) == ()


def test_every_check_is_told_whether_it_passed_or_not() -> None:
    found = {check.name: check for check in checks(recipe(), run())}
    assert found["headroom"].told == "100.0 times the load" and not found["headroom"].reason
    assert found["lag"].told == "0.10 ms at p99" and found["errors"].told == "none"
    assert found["steady state"].told and not found["cache"].told


def test_a_program_with_a_load_of_its_own_says_what_there_is_against_it() -> None:
    own = Measured(
        seconds=5.0, sent=10, good=10, histograms={"read": Histogram([1_000_000] * 2000)},
        values={"bandwidth": Value(value=5e8, unit="B/s")}, cache="warm", reasons=("the page cache answered",),
    )  # fmt: skip
    made = [record(recipe(), number, 0.0, own) for number in (1, 2, 3)]
    found = {figure.name: figure for figure in figures(recipe(), made)}
    assert found["bandwidth"].value == 5e8 and found["read.p50"].value == pytest.approx(1.0, rel=0.01)
    assert found["read.p50"].reasons[0] == "run 1: the page cache answered"
    clean = [one.model_copy(update={"reasons": ()}) for one in made]
    assert all(figure.ok for figure in figures(recipe(), clean) if figure.name in ("bandwidth", "read.p50"))


PLANTED: dict[str, tuple[dict[str, Any], str]] = {
    "headroom": ({"calibration": CALIBRATION.model_copy(update={"ceiling": 120})}, "1.20 times the load"),
    "load": ({"achieved": 0.9}, "went out at 90.0% of the rate intended"),
    "lag": ({"histograms": run(lag=0.005).histograms}, "went out up to 5.00 ms late"),
    "cache": ({"reasons": ("the page cache answered",), "cache": "warm"}, "the page cache answered"),
    "tokens": ({"tokens_known": 1.0, "tokens_agree": 0.9}, "tokenizer counts 90.0% of the tokens"),
    "steady state": ({"steady": False, "steady_why": "the latency drifted by +30%"}, "drifted by +30%"),
    "errors": ({"errors": {"status 500": 100}}, "(status 500: 100)"),
    "drift": ({"yardstick_ms": 2.0}, "a fixed piece of work took 1.0 ms before one run and 2.0 ms"),
}


@pytest.mark.parametrize("check", PLANTED)
def test_each_check_strikes_a_figure_through_and_keeps_it_out_of_everything(
    check: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One planted violation in one run of five: shown with its reason, in no comparison, an error with --strict."""
    change, said = PLANTED[check]
    name = "tokens" if check == "tokens" else "latency.p50"
    token = {"tokens": Value(value=5.0, unit="tokens/s")}
    good = [run(number).model_copy(update={"yardstick_ms": 1.0, "values": token}) for number in range(5)]
    bad = [*good[:4], good[4].model_copy(update=change)]
    sound, planted = (
        result(spec=recipe()).model_copy(update={"runs": tuple(runs), "figures": figures(recipe(), runs)})
        for runs in (good, bad)
    )
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    write_result(before, sound)
    write_result(after, planted)
    assert next(one for one in sound.figures if one.name == name).ok
    (figure,) = (one for one in planted.figures if one.name == name)
    assert not figure.ok and said in " ".join(figure.reasons)

    assert main(["bench", "show", str(after), "--strict"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert f"- {figure.reasons[0]}" in shown and "not ok" in shown
    assert main(["bench", "compare", str(before), str(after), "--figure", name]) == CouldNotTell.exit_code
    assert figure.reasons[0] in " ".join(capsys.readouterr().err.replace("|", "").split())
    assert f'figure="{name}"' in openmetrics(planted)
    ok = next(line for line in openmetrics(planted).splitlines() if "_ok{" in line and f'"{name}"' in line)
    assert ok.split()[-2] == "0"
    assert 'class="struck"' in html([planted])


def test_small_numbers_are_told_by_digits_that_mean_something() -> None:
    from ai_how.cli.bench_show import _number

    assert [_number(one) for one in (0.0, 0.00042, 0.0523, 0.5, 9.9999, 8725.2)] == [
        "0.000", "0.00042", "0.0523", "0.500", "10.000", "8,725",
    ]  # fmt: skip
