"""A benchmark's report, compared whole, and what must hold for any result."""

from __future__ import annotations

import math
import re
import time
from itertools import pairwise

import pytest
from sample_bench import GOLDEN, sample
from test_demo_report import Page

from ai_how.bench.answers import answers
from ai_how.bench.model import Figure, Probe, Result, Saturation
from ai_how.bench.report import html
from ai_how.bench.report.families import front, member
from ai_how.bench.report.numbers import named, number, reading
from ai_how.draw.charts import scale
from ai_how.draw.plot import Axes, Curve, apart, exact, plot
from ai_how.spec.bench import parse_bench


@pytest.fixture(scope="module")
def result() -> Result:
    return sample()


@pytest.fixture
def at_greenwich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_the_golden_file(result: Result, at_greenwich: None) -> None:
    assert html([result]) == (GOLDEN / "report.html").read_text(encoding="utf-8"), (
        "python tests/golden/sample_bench.py writes it anew"
    )


def test_the_page_is_well_formed_and_loads_nothing(result: Result) -> None:
    page = Page(html([result]))
    assert not page.open and "script" not in page.tags and len(page.ids) == len(set(page.ids))
    assert all(one.startswith(("data:", "#")) for one in page.references)
    assert all(one.get("role") == "img" or one.get("aria-hidden") == "true" for one in page.pictures)


def test_what_failed_is_struck_through_with_the_reason(result: Result) -> None:
    said = Page(html([result])).said()
    assert "the generator used 90% of its core; 85% is the most" in said
    assert 'class="struck"' in html([result])
    for heading in (
        "How it bears load",
        "Not only the median",
        "Over time",
        "One by one",
        "The verdict",
        "Power",
    ):
        assert heading in said


def test_answers_in_a_centres_units(result: Result) -> None:
    found = {one.words: one for one in answers(result)}
    met = max(float(run.point["load.rate"]) for run in result.runs if (run.kept or 0) >= 0.99)
    assert found["users a node under the objective"].value == pytest.approx(met / 0.02 / 2)
    tokens = next(
        one.value for one in result.figures if one.name == "tokens" and one.point["load.rate"] == met
    )
    hours = found["node-hours a million tokens"].value
    assert hours == pytest.approx(2e6 / tokens / 3600)
    assert found["cost of a million tokens"].value == pytest.approx(3.5 * hours)
    watts = 200 + 3 * met + 2
    assert found["energy of a million tokens"].value == pytest.approx(watts * 1e6 / tokens, rel=0.01)


def test_two_results_are_two_chapters_with_headings_of_their_own(result: Result) -> None:
    page = Page(html([result, result]))
    assert len(page.ids) == len(set(page.ids)) and page.said().count("Every figure") == 2


def test_sides_fronts_and_scaling_have_their_pictures(result: Result) -> None:
    text = (
        'version: "1.0"\nkind: bench\nname: x\ntarget: {url: "http://h:1"}\n'
        "sweep: {load.processes: [1, 2, 4]}\nload: {arrivals: closed, clients: 8}\nagainst: {timeout: 3}\n"
    ).replace("against: {timeout: 3}\n", "")
    recipe = parse_bench(text, "x.yaml")

    def figure(name: str, processes: int, value: float) -> Figure:
        return Figure(
            name=name, unit="" if name == "recall" else "1/s", value=value, low=value * 0.9, high=value * 1.1,
            runs=(value,) * 3, better="higher", ok=True, point={"load.processes": processes},
        )  # fmt: skip

    figures = [figure("recall", n, r) for n, r in ((1, 0.99), (2, 0.95), (4, 0.8))]
    figures += [figure("throughput", n, v) for n, v in ((1, 100.0), (2, 190.0), (4, 300.0))]
    said = Page(
        html([result.model_copy(update={"recipe": recipe, "figures": tuple(figures), "runs": ()})])
    ).said()
    assert "Speed at what recall" in said and "How it scales" in said and "Efficiency" in said


def test_a_front_has_the_points_that_none_beats_at_both() -> None:
    assert front([(0.9, 10), (0.99, 5), (0.95, 4), (0.8, 9), (0.7, 20)]) == [(0.7, 20), (0.9, 10), (0.99, 5)]


def test_names_are_moved_apart_and_no_further() -> None:
    assert apart([10, 100]) == [10, 100]
    moved = apart([50, 51, 52, 200], 15)
    assert moved == pytest.approx([36, 51, 66, 200])


def test_a_scale_of_given_values_has_them_as_its_ticks() -> None:
    found = exact([20.0, 60.0, 300.0, 20.0])
    assert found.ticks == (20, 60, 300) and found.logarithmic and found.at(300) == 1
    assert exact([5.0]).at(5.0) == 0.5


def test_a_result_without_figures_says_so(result: Result) -> None:
    page = Page(
        html([result.model_copy(update={"figures": (), "runs": (), "partial": "the target was gone"})])
    )
    assert "No run came to its end" in page.said() and "the target was gone" in page.said()


def family(name: str, value: float, unit: str) -> Figure:
    return Figure(
        name=name, unit=unit, value=value, low=None, high=None, runs=(value,), better="higher", ok=True
    )


def test_families_of_settings_are_curves(result: Result) -> None:
    assert member("latency.p50") is None and member("tokens") is None and member("latency.p99.9") is None
    found = member("latency.ef=16.filtered.p99")
    assert found is not None and (found.base, found.word, found.value, found.more, found.percentile) == (
        "latency", "ef", 16, "filtered", "p99",
    )  # fmt: skip
    size = member("bus_bandwidth.4M")
    assert size is not None and (size.word, size.value, size.label) == ("size", 4 * 2**20, "4M")
    figures = [family(f"recall.ef={ef}", recall, "share") for ef, recall in ((8, 0.7), (16, 0.9), (32, 0.97))]
    figures += [
        family(f"throughput.ef={ef}", rate, "1/s") for ef, rate in ((8, 900.0), (16, 700.0), (32, 400.0))
    ]
    figures += [family(f"recall.ef={ef}.filtered", 0.6 + ef / 100, "share") for ef in (8, 16)]
    figures += [family(f"throughput.ef={ef}.filtered", 300.0 - ef, "1/s") for ef in (8, 16)]
    plain = result.recipe.model_copy(update={"sweep": {}})
    page = Page(html([result.model_copy(update={"recipe": plain, "figures": tuple(figures), "runs": ()})]))
    said = page.said()
    assert "Speed at what recall" in said and "unfiltered" in said
    assert "Finds 97 % of the true neighbours at 400 queries a second" in said
    assert "recall by ef" in said and "throughput by ef" in said


def test_processes_have_their_ideal_and_their_efficiency(result: Result) -> None:
    figures = [
        family(f"samples.{count}", rate, "1/s") for count, rate in ((1, 100.0), (2, 190.0), (4, 300.0))
    ]
    plain = result.recipe.model_copy(update={"sweep": {}})
    said = Page(
        html([result.model_copy(update={"recipe": plain, "figures": tuple(figures), "runs": ()})])
    ).said()
    assert "samples by processes" in said and "at best" in said
    assert "Efficiency: samples by processes" in said and "efficiency: 75% at 4" in said


def test_wide_bands_leave_the_curves_their_room_and_end_at_the_edge() -> None:
    points = [(1.0, 10.0), (2.0, 12.0)]
    drawn = plot(
        [Curve("x", "c1", points, bands=[(1.0, 0.0, 900.0), (2.0, 9.0, 14.0)])], Axes("", str, str), "x"
    )
    ticks = [float(tick) for tick in re.findall(r'text-anchor="end">(\d+\.\d)<', drawn)]
    assert ticks and max(ticks) <= 30
    path = re.search(r'd="M([^"]*)Z" class="band"', drawn)
    assert path is not None
    heights = [float(pair.split()[1]) for pair in path[1].split("L")]
    assert min(heights) >= 0 and max(heights) <= 1000
    assert "0.0 to 900.0" in drawn, "what the interval is stands in the dot's words"


def test_names_of_figures_in_words() -> None:
    assert named("latency.ef=16.filtered.p99.9") == "latency, ef=16, filtered, p99.9"
    assert (
        named("first.throughput.ratio") == "first, throughput, ratio"
        and named("step.1.p50") == "step, 1, p50"
    )


def test_what_a_search_tried_is_drawn(result: Result) -> None:
    recipe = parse_bench(
        'version: "1.0"\nkind: bench\nname: x\ntarget: {url: "http://h:1"}\nload: {rate: 1}\n'
        "objective: {latency_ms: 5}\nsearch: {low: 1, high: 8}\n",
        "x.yaml",
    )
    probes = tuple(
        Probe(load=load, share=share, met=share > 0.9) for load, share in ((1, 1.0), (2, 1.0), (4, 0.5))
    )
    found = Saturation(key="load.rate", met=2, missed=4, probes=probes)
    said = Page(html([result.model_copy(update={"recipe": recipe, "saturation": (found,)})])).said()
    assert "Kept the objective, by load" in said and "50% at 4" in said


def test_two_at_once_are_headed_by_what_is_no_chance(result: Result) -> None:
    recipe = parse_bench(
        'version: "1.0"\nkind: bench\nname: x\ntarget: {api: pair}\nload: {arrivals: closed}\nworkload:\n  pair:\n'
        '    first: {target: {url: "http://h:1"}, load: {rate: 1}}\n'
        "    second: {target: {api: metadata}, load: {arrivals: closed}}\n",
        "x.yaml",
    )

    def headed(low: float) -> str:
        wide = family("second.creates.ratio", 3.0, "of alone").model_copy(update={"low": 0.5, "high": 9.0})
        narrow = family("first.latency.p50.ratio", 1.5, "of alone").model_copy(
            update={"low": low, "high": 1.6}
        )
        return Page(html([result.model_copy(update={"recipe": recipe, "figures": (wide, narrow)})])).said()

    assert "At once, first, latency, p50 is 1.50 times what it is alone" in headed(1.4)
    assert "Neither does anything to the other" in headed(0.9)


def test_a_load_that_no_trusted_figure_stands_behind_heads_nothing(result: Result) -> None:
    found = Saturation(key="load.rate", met=20.0, missed=40.0, share=(1.0,))
    rates = [
        one.model_copy(
            update={"name": "throughput", "point": {"load.rate": 20.0}, "side": "", "ok": ok, "reasons": ()}
        )
        for one, ok in zip(result.figures[:1], [True], strict=True)
    ]
    plain = result.recipe.model_copy(update={"against": {}, "sweep": {}})
    made = result.model_copy(update={"recipe": plain, "saturation": (found,), "figures": tuple(rates)})
    assert "Keeps its objective up to <em>20 requests a second" in html([made])
    doubted = tuple(one.model_copy(update={"ok": False, "reasons": ("late",)}) for one in rates)
    page = html([made.model_copy(update={"figures": doubted})])
    assert "Keeps its objective" not in page
    assert 'up to <s class="struck">20</s> requests a second, and that cannot be trusted' in page


def test_a_machine_that_changed_after_many_runs_is_told_all_the_same(result: Result) -> None:
    (run,) = [one for one in result.runs if one.purpose == "run"][:1]
    times = [10.0] * 44 + [20.0]
    runs = tuple(
        run.model_copy(update={"number": at + 1, "yardstick_ms": time}) for at, time in enumerate(times)
    )
    page = html([result.model_copy(update={"runs": runs})])
    assert "the machine changed: a fixed piece of work took 10.0 ms" in page
    assert "The first 40 of 45 runs." in page


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (999.4, "999"),
        (999.7, "1,000"),
        (9999.7, "10\u202fk"),
        (999_700.0, "1\u202fM"),
        (0.23, "0.23"),
        (0.0, "0"),
    ],
)
def test_no_number_is_told_in_powers_of_ten(value: float, words: str) -> None:
    assert number(value) == words
    assert reading(999_700.0, "B") == "1\u202fMB"


def test_all_of_it_is_told_of_all_of_it_alone() -> None:
    assert [reading(share, "share") for share in (1.0, 0.99998, 0.98)] == [
        "100\u202f%",
        "99.9\u202f%",
        "98\u202f%",
    ]


@pytest.mark.parametrize(
    "values", [[1, 2, 4, 8, 512, 700, 715, 724, 1024], list(range(1, 700)), [0, 1, 10_000], [900, 950, 1000]]
)
def test_what_stands_beneath_a_picture_does_not_run_together(values: list[float]) -> None:
    """A search tries many loads that are near to its answer."""
    made = exact(values)
    places = [made.at(tick) for tick in made.ticks]
    assert min(right - left for left, right in pairwise(places)) >= 0.14
    assert (made.ticks[0], made.ticks[-1]) == (min(values), max(values))


@pytest.mark.parametrize("values", [[0.0, 0.0], [100.001, 100.002], [100.0], [1e-7, 1.001e-7], [0.0, 5.0]])
def test_no_two_lines_of_a_picture_bear_the_same_words(values: list[float]) -> None:
    made = scale(values)
    words = [number(tick) for tick in made.ticks]
    assert len(set(words)) == len(words) > 1 and made.low >= 0


def test_a_curve_without_any_number_is_none_and_a_long_name_stays_in_its_card() -> None:
    axes = Axes("load", number, number)
    assert "nothing was recorded" in plot([Curve("p50", "c1", [(1, math.nan), (2, math.nan)])], axes, "x")
    long = plot([Curve("model=meta/llama-70b-instruct", "c1", [(1, 1.0), (2, 2.0)])], axes, "x")
    assert 'text-anchor="end"' in long.split("model=meta")[0].rpartition("<text")[2]
