"""The parts of a page that needs nothing else: its head, sections, cards and tables. Pure, but for its style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from ai_how.draw.markup import Markup, element

_NOTHING_FROM_ELSEWHERE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, style: str, body: Markup) -> str:
    """The whole file; ``style`` is added to what all pages share."""
    shared = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=_NOTHING_FROM_ELSEWHERE),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(shared + style)),
    )
    return "<!doctype html>\n" + element("html", head, element("body", body), lang="en")


def section(title: str, lead: str | None, *children: Markup, class_: str | None = None) -> Markup:
    """A part of the page under its own heading."""
    name = title.lower().replace(" ", "-").replace(",", "").replace("’", "")
    return element(
        "section",
        element("h2", title, id=name),
        element("p", lead, class_="lead") if lead else None,
        *children,
        class_=class_,
        aria_labelledby=name,
    )


def figure_card(label: str, value: str, note: str, picture: Markup) -> Markup:
    """One number with its picture and a note."""
    return element(
        "div",
        element("h3", label),
        element("p", value, class_="number"),
        picture,
        element("p", note, class_="note"),
        class_="card",
    )


def chart_card(title: str, note: str, chart: Markup) -> Markup:
    """A chart under its title."""
    return element(
        "figure",
        element("figcaption", element("h3", title), element("p", note, class_="note")),
        chart,
        class_="card",
    )


def table(names: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> Markup:
    """A table; its first column heads the rows, the columns in ``numbers`` are set to the right."""
    kinds = ["amount" if at in numbers else None for at in range(max(len(names), 2, *map(len, rows or [()])))]
    head = element(
        "thead",
        element("tr", *[element("th", name, scope="col", class_=kinds[at]) for at, name in enumerate(names)]),
    )
    lines = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *[element("td", cell, class_=kinds[at]) for at, cell in enumerate(row[1:], start=1)],
        )
        for row in rows
    ]
    made = element("table", head if names else None, element("tbody", *lines))
    return element("div", made, class_="card table")


def key(part: str, text: str) -> Markup:
    """A colour and what it stands for."""
    return element("span", element("i", class_=part), text, class_="key")


def footer(version: str, when: str) -> Markup:
    """What every page ends with."""
    return element(
        "footer",
        element(
            "p",
            f"Written by AI-HOW {version} on {when}. "
            "This page loads nothing from anywhere; it can be kept, mailed and printed as it is.",
        ),
    )
