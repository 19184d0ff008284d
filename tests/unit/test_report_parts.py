"""The small pure parts of the demo's report: scales, words, markup, overlapping phases, colours."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from ai_how.draw import words
from ai_how.draw.charts import line_chart, scale, thin
from ai_how.draw.markup import Markup, element, join
from ai_how.site.report import HostFacts, Phase, Score
from ai_how.site.report.model import covered
from ai_how.site.report.phases import time_ticks
from ai_how.site.report.terminal import bar


def test_overlapping_phases_count_once() -> None:
    phases = (Phase("a", "set-up", 0, 10), Phase("b", "set-up", 5, 10), Phase("c", "set-up", 20, 1))
    assert covered(phases) == 16
    assert covered((Phase("outer", "set-up", 0, 10), Phase("inner", "set-up", 2, 3))) == 10
    assert covered(()) == 0


def test_a_score_of_no_questions_is_nothing() -> None:
    assert Score(0, 0).exact_match == 0
    assert Score(9, 12).exact_match == 0.75


def test_without_gpus_it_is_said_so() -> None:
    assert HostFacts("Debian 12", 2, 24, "root").computed_on == "CPU only"
    assert HostFacts("Debian 12", 2, 24, "root", gpus=("NVIDIA H100",)).computed_on == "NVIDIA H100"


@pytest.mark.parametrize(
    ("values", "low", "high", "logarithmic"),
    [
        ([5.03, 0.0165], 0.01, 10, True),
        ([0.78, 0.9889], 0.75, 1.0, False),
        ([0.0, 5.0], 0, 6, False),
        ([3.0, 3.0], 2.4, 3.6, False),
    ],
)
def test_a_scale_holds_its_values(values: list[float], low: float, high: float, logarithmic: bool) -> None:
    found = scale(values)
    assert found.logarithmic is logarithmic
    assert found.low <= min(values) and found.high >= max(values)
    assert found.low >= low - 0.1 * abs(low) - 1e-9 and found.high <= high + 0.4
    assert 2 <= len(found.ticks) <= 7
    assert found.at(found.low) == pytest.approx(0) and found.at(found.high) == pytest.approx(1)


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    points = [(float(step), 1 / (step + 1)) for step in range(5000)]
    kept = thin([*points, (5000.0, float("nan"))])
    assert len(kept) == 400
    assert kept[0] == points[0] and kept[-1] == points[-1]


@pytest.mark.parametrize("points", [[(1.0, 2.0)], [(1.0, 0.5), (2.0, 0.5)], [(0.0, 0.0), (1.0, -1.0)]])
def test_odd_curves_are_drawn_too(points: list[tuple[float, float]]) -> None:
    chart = line_chart(points, part="train", label="loss", across="epoch", value=words.loss)
    assert chart.startswith("<svg") and "nan" not in chart


@pytest.mark.parametrize("total", [0.3, 2.0, 59.0, 148.0, 600.0, 9000.0])
def test_there_are_a_few_ticks_of_time(total: float) -> None:
    ticks = time_ticks(total)
    assert ticks[0] == 0 and ticks[-1] <= total and 2 <= len(ticks) <= 8


def plain(text: str) -> str:
    return text.replace(words.THIN, " ")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (words.percent(0.9889), "98.9 %"),
        (words.percent(0.99999), "99.9 %"),
        (words.percent(1.0), "100 %"),
        (words.percent(0.0), "0 %"),
        (words.seconds(0.04), "0.0 s"),
        (words.seconds(151.2), "151 s"),
        (words.duration(59.4), "59 s"),
        (words.duration(151.2), "2 min 31 s"),
        (words.duration(3725), "1 h 2 min"),
        (words.duration(4 * 86400 + 7300), "4 d 2 h"),
        (words.milliseconds(4.26), "4.3 ms"),
        (words.milliseconds(12_345), "12.3 s"),
        (words.memory(411_041_792), "392 MiB"),
        (words.memory(None), "not recorded"),
        (words.loss(0.00001234), "1.2e-05"),
        (words.times(5.03, 0.0165), "305×"),
        (words.times(1.0, 0.0), "∞"),
        (words.count(1, "node"), "1 node"),
        (words.node_list(("node01", "node02", "node03")), "node01–03"),
        (words.node_list(("node01", "node03", "node04")), "node01, node03, node04"),
        (words.node_list(("a", "b", "c")), "a, b, c"),
        (words.node_list(("n1", "n2", "n3", "n7", "gpu8", "gpu9", "gpu10")), "n1–3, n7, gpu8–10"),
        (words.node_list(()), ""),
    ],
)
def test_numbers_as_people_read_them(said: str, meant: str) -> None:
    assert plain(said) == meant


def test_markup_escapes_what_is_not_markup() -> None:
    assert element("b", "<&>", title='"') == '<b title="&quot;">&lt;&amp;&gt;</b>'
    assert element("b", element("i", "x"), None, class_="y") == '<b class="y"><i>x</i></b>'
    assert join("<", Markup("<br>")) == "&lt;<br>"


@pytest.mark.parametrize("start", [0.0, 33.3, 99.9, 100.0])
def test_a_bar_is_never_empty_and_never_too_long(start: float) -> None:
    for ascii_only in (False, True):
        drawn = bar(Phase("x", "train", start, 0.01), 100.0, 20, ascii_only=ascii_only)
        assert drawn.strip() and len(drawn) <= 20


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_text_and_charts_have_enough_contrast_in_light_and_in_dark() -> None:
    style = files("ai_how.draw").joinpath("page.css").read_text(encoding="utf-8")
    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in style.split(":root")[1:3]]
    assert len(themes) == 2
    for theme in themes:
        for ground in ("page", "card", "sunk"):
            assert all(
                contrast(theme[name], theme[ground]) >= 4.5 for name in ("ink", "soft", "right", "wrong")
            )
        parts = ("set-up", "site", "train", "finetune", "serve")
        assert all(contrast(theme[name], theme["card"]) >= 3 for name in parts)
