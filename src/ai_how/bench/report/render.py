"""Results as one page: what came out, the pictures, what there is against it, and where it was measured. Pure."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files

from ai_how import __version__
from ai_how.bench.answers import answers, best
from ai_how.bench.compare import sides_compared
from ai_how.bench.model import Figure, Result
from ai_how.bench.report.curves import loads, scaling, spectrum, swept
from ai_how.bench.report.families import chosen_search, families, fronts, searched
from ai_how.bench.report.numbers import bounds, named, number, place, reading
from ai_how.bench.report.runs import one_by_one, over_time
from ai_how.bench.report.tables import environment, figure_rows, recipe, sides_table, verdicts
from ai_how.draw.charts import share_bar, sparkline
from ai_how.draw.markup import Markup, element, join
from ai_how.draw.page import figure_card, footer, page, section
from ai_how.draw.words import THIN, count, duration
from ai_how.errors import AiHowError

#: The figures that are shown large, those first that people ask for first.
_HEADLINES = ("latency.p50", "latency.p99", "first_token.p50", "first_token.p99", "tokens", "goodput", "throughput",
              "recall")  # fmt: skip
_CARDS = 4


def html(results: Sequence[Result]) -> str:
    """The whole report, a chapter for each result."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    first = results[0]
    title = first.recipe.name if len(results) == 1 else f"{len(results)} benchmarks"
    chapters = [_apart(element("article", *chapter(one)), index) for index, one in enumerate(results)]
    body = join(
        element(
            "p",
            element("b", "AI-HOW"),
            f" {__version__}",
            element("span", "benchmark report"),
            class_="brand",
        ),
        element("main", *chapters),
        footer(__version__, _when(max(one.started for one in results))),
    )
    return page(f"{title}: an AI-HOW benchmark", style, body)


def _apart(text: Markup, index: int) -> Markup:
    """A chapter whose headings are its own: a page has each id once. Text of others has no quotes left in it."""
    return Markup(re.sub(r'\b(id|aria-labelledby)="', rf'\1="{index + 1}-', text)) if index else text


def chapter(result: Result) -> Iterator[Markup]:
    """One result from its headline to its recipe; what has nothing to show is left out."""
    yield _head(result)
    yield _cards(result)
    yield from _answers(result)
    for part in (loads, spectrum, fronts, families, scaling, swept, sides_table, over_time, one_by_one):
        yield from part(result)
    yield section(
        "Every figure",
        "The value of all runs together, and the interval of the mean over runs. What is struck through failed its "
        "verdict: it is in no comparison and must not be quoted.",
        figure_rows(result),
    )
    yield from verdicts(result)
    yield environment(result)
    yield recipe(result)


def _when(started: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(started))


def _head(result: Result) -> Markup:
    facts = result.environment
    trusted = sum(one.ok for one in result.figures)
    runs = [run for run in result.runs if run.purpose == "run"]
    machine = ", ".join(str(facts[key]) for key in ("machine", "processor") if facts.get(key))
    cores = f", {count(facts['cores'], 'core')}" if facts.get("cores") else ""
    return element(
        "header",
        element("p", result.recipe.name, class_="kicker"),
        element("h1", *headline(result)),
        element(
            "p",
            f"{result.recipe.description or 'A benchmark'}: {result.recipe.target.api} at "
            f"{result.address or 'its own place'}, {count(len(runs), 'run')} in {duration(result.seconds)} on "
            f"{_when(result.started)}. Measured from {machine}{cores}.",
            class_="lead",
        ),
        share_bar(trusted / (len(result.figures) or 1), "serve"),
        element("p", f"{trusted} of {len(result.figures)} figures can be trusted", class_="keys"),
        element("p", f"Partial: {result.partial}", class_="partial") if result.partial else None,
    )


def headline(result: Result) -> Iterator[Markup | str]:
    """What came out, in a sentence."""
    if result.recipe.against and (said := sides_headline(result)) is not None:
        yield from said
        return
    ratios = [one for one in result.figures if one.ok and one.name.endswith(".ratio") and one.value > 0]
    if result.recipe.workload.pair is not None and ratios:
        # A ratio whose interval holds 1 may be chance.
        sure = [
            one
            for one in ratios
            if one.low is not None and one.high is not None and not one.low <= 1 <= one.high
        ]
        if not sure:
            yield from (
                "Neither does anything to ",
                element("em", "the other"),
                ", as far as this could show",
            )
            return
        one = max(sure, key=lambda one: abs(math.log(one.value)))
        told = named(one.name.removesuffix(".ratio"))
        yield from (f"At once, {told} is ", element("em", f"{one.value:.2f} times"), " what it is alone")
        return
    if (pair := searched(result)) is not None:
        speed = f"{number(pair[1])} queries a second"
        yield from ("Finds ", reading(pair[0], "share"), " of the true neighbours at ", element("em", speed))
        return
    if (bears := searched_load(result)) is not None:
        yield from bears
        return
    _, point = best(result, "b" if result.recipe.against else "")
    known = {one.name: one for one in result.figures if dict(one.point) == dict(point) or not point}
    trusted = {name: one for name, one in known.items() if one.ok}
    if "latency.p50" in trusted:
        yield from ("Half of the answers within ", element("em", reading(trusted["latency.p50"].value, "ms")))
        if "latency.p99" in trusted:
            yield f", 99 of 100 within {reading(trusted['latency.p99'].value, 'ms')}"
    elif trusted:
        one = next(iter(trusted.values()))
        yield from (f"{named(one.name).capitalize()} ", element("em", reading(one.value, one.unit)))
    elif result.figures:
        yield f"Nothing {'of the second side' if result.recipe.against else 'here'} can be trusted, and why"
    else:
        yield "No request was answered as it should be" if result.runs else "No run came to its end"


def searched_load(result: Result) -> tuple[Markup | str, ...] | None:
    """What a search came to, struck through where no trusted figure stands behind it; None where it confirmed none."""
    found = next((one for one in result.saturation if one.met is not None and one.share), None)
    if found is None or found.met is None:
        return None
    what = "requests a second" if found.key == "load.rate" else "clients"
    if all(one.ok for one in answers(result)[:1]):
        return "Keeps its objective up to ", element("em", f"{number(found.met)} {what}")
    struck = element("s", number(found.met), class_="struck")
    return "Seemed to keep its objective up to ", struck, f" {what}, and that cannot be trusted"


def sides_headline(result: Result) -> tuple[Markup | str, ...] | None:
    """What became of the second side; None where it cannot be told."""
    try:
        found = sides_compared(result)
    except AiHowError:
        return None
    changed = [one for one in found.changes if one.found]
    if not changed:
        return ("The second side is ", element("em", "no different"), ", as far as this could show")
    largest = max(changed, key=lambda one: abs(one.change))
    word = "worse" if largest.worse_by(0.0) else "better"
    change = element("em", f"{largest.change:+.1%}", class_="wrong" if word == "worse" else None)
    return (f"The second side is {word}: {named(largest.figure)} ", change)


def _cards(result: Result) -> Markup:
    chosen = list(_headlined(result))[:_CARDS]
    if not chosen:
        return Markup("")
    return element(
        "section",
        *[
            figure_card(", ".join(filter(None, (named(one.name), place(one)))), _value(one), _note(one), _shape(one))
            for one in chosen
        ],
        class_="figures",
        aria_label="The figures",
    )  # fmt: skip


def _headlined(result: Result) -> Iterator[Figure]:
    """The figures of the headline: at the best point, of the last side; others fill up what is left."""
    side = "b" if result.recipe.against else ""
    _, point = best(result, side)
    own = [one for one in result.figures if one.side == side]
    here = [one for one in own if dict(one.point) == dict(point)] or own
    names = [one.name for one in chosen_search(result)]
    names += [name for name in _HEADLINES if any(one.name == name for one in here)]
    names += [one.name for one in here if "." not in one.name]
    names += [one.name for one in here if one.unit != "ms"]
    for name in dict.fromkeys(names):
        yield next(one for one in here if one.name == name)


def _value(one: Figure) -> Markup:
    text = reading(one.value, one.unit)
    amount, _, unit = text.partition(THIN)
    shown = amount if one.ok else element("s", amount, class_="struck")
    return join(shown, element("small", f"{THIN}{unit}") if unit else None)


def _note(one: Figure) -> str:
    return bounds(one) if one.ok else f"not to be trusted: {one.reasons[0]}"


def _shape(one: Figure) -> Markup:
    """How the runs went, one after the other."""
    if len(one.runs) < 2:
        return Markup("")
    return sparkline([(float(index), value) for index, value in enumerate(one.runs)], "c1")


def _answers(result: Result) -> Iterator[Markup]:
    found = answers(result)
    if not found:
        return
    cards = [
        element(
            "div",
            element("h3", one.words),
            element(
                "p",
                number(one.value) if one.ok else element("s", number(one.value), class_="struck"),
                element("small", f"{THIN}{one.unit}"),
                class_="number",
            ),
            element(
                "p", one.note + ("" if one.ok else "; a figure behind it failed its verdict"), class_="note"
            ),
            class_="card",
        )
        for one in found
    ]
    yield section(
        "In a centre’s own units",
        "What the figures above come to, for the nodes and the rate card that the recipe names.",
        element("div", *cards, class_="figures"),
    )
