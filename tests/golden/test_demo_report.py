"""The demo's report and its terminal summary, compared whole, and what must hold for any facts."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console
from sample_demo import GOLDEN, golden, printed, sample

from ai_how.site.report import Answer, Node, html
from ai_how.site.report.terminal import closing

VOID = {"meta", "link", "br"}
REFERENCES = {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}


class Page(HTMLParser):
    """Checks that elements close in order; gathers the text, the headings, the ids and what is referred to."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []
        self.references: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.labelled: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        if tag == "svg" and "svg" not in self.open:
            self.pictures.append(found)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)
        self.references += [value or "" for key, value in attrs if key in REFERENCES]
        self.ids += [value or "" for key, value in attrs if key == "id"]
        self.labelled += [value or "" for key, value in attrs if key == "aria-labelledby"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def said(self) -> str:
        return " ".join(" ".join(self.text).replace("\u202f", " ").split())


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(html(sample()))


@pytest.mark.parametrize("name", ["report.html", "facts.json", "terminal-80.txt", "terminal-160.txt"])
def test_the_golden_file(name: str) -> None:
    assert golden(sample())[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_has_an_outline(page: Page) -> None:
    assert not page.open
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert len(page.ids) == len(set(page.ids))
    assert set(page.labelled) == set(page.ids)


def test_the_page_refers_to_nothing_outside_it(page: Page) -> None:
    text = html(sample())
    assert page.references == ["data:,"]
    assert not page.tags & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "video",
        "audio",
        "use",
        "image",
        "a",
    }
    assert not re.search(r"https?://|//[a-z]|url\(|@import|@font-face", text)
    assert "default-src &#x27;none&#x27;" in text


def test_every_picture_has_words_or_is_hidden(page: Page) -> None:
    assert page.pictures
    for picture in page.pictures:
        told = picture.get("role") == "img" and picture.get("aria-label")
        assert told or picture.get("aria-hidden") == "true"


def test_every_fact_is_on_the_page(page: Page) -> None:
    facts, said = sample(), page.said()
    wanted = ["98.9 %", "100 %", "92.9 %", "664 of 664", "52 of 56", "5.03", "0.0165", "305×", "3 of 4 right"]
    wanted += [
        "2 min 28 s",
        "70.4 s set-up",
        "77.5 s for all the rest",
        "9,120 images/s",
        "5.1 MiB",
        "2 nodes",
    ]
    wanted += ["12.6 s", "392 MiB", "1.3 GiB", "860 MiB", "81.3 s", "not recorded", "CPU only", "port 17017"]
    wanted += [
        "simulated devices, 8 in all",
        facts.train.run_id[:8],
        facts.finetune.run_id[:8],
        facts.command,
    ]
    wanted += [f"{phase.seconds:.1f} s" for phase in facts.phases] + [phase.name for phase in facts.phases]
    wanted += [
        word for version in facts.versions for word in (version.program, version.version, version.origin)
    ]
    wanted += [word for answer in facts.answers for word in (answer.asked, answer.answered)]
    wanted += [word for job in facts.jobs for word in (str(job.job_id), job.name, job.state)]
    wanted += [node.name for node in facts.site.nodes] + [
        partition.name for partition in facts.site.partitions
    ]
    wanted += [service.name for service in facts.site.services]
    assert [word for word in wanted if word not in said] == []
    assert "expected: The site has 4 nodes." in said


def test_what_people_and_models_write_stays_text() -> None:
    evil = '<script>alert("1")</script><img src=x onerror=y>&amp;'
    facts = sample()
    facts = replace(
        facts,
        site=replace(facts.site, name=evil, nodes=(Node(evil, 1, 1.0),)),
        answers=(Answer(evil, evil, "no", 1.0),),
        command=evil,
    )
    page = Page(html(facts))
    assert not page.tags & {"script", "img"}
    assert page.said().count(evil) >= 4


def test_nothing_recorded_is_said_to_be_so() -> None:
    facts = sample()
    facts = replace(
        facts,
        train=replace(facts.train, loss=(), accuracies=(), samples_per_second=None),
        answers=(),
        jobs=(),
    )
    said = Page(html(facts)).said()
    assert "nothing was recorded" in said and "nothing was asked" in said
    assert "nan" not in said.split() and "0 of 0 exactly right" in printed(facts, 80)


def test_many_nodes_are_counted_not_drawn() -> None:
    facts = sample()
    nodes = tuple(Node(f"node{number:02}", 2, 4.0) for number in range(1, 65))
    said = Page(html(replace(facts, site=replace(facts.site, nodes=nodes)))).said()
    assert "and 56 nodes more, up to node64" in said
    assert "simulated" not in said


def test_the_facts_are_what_the_command_promises() -> None:
    facts = json.loads(json.dumps(sample().as_json()))
    assert {key: facts["train"][key] for key in ("accuracy", "nodes", "job_id", "run_id")} == {
        "accuracy": 0.9889,
        "nodes": 2,
        "job_id": 1,
        "run_id": "4f2a9c1d7be84c0f9a3d5e6b7c8d9e0f",
    }
    assert facts["finetune"]["exact_match"] == 1.0
    assert facts["finetune"]["paraphrase_exact_match"] == pytest.approx(52 / 56)
    assert facts["finetune"]["loss_last"] < facts["finetune"]["loss_first"] / 10
    assert facts["model"]["name"] == "site-facts" and facts["model"]["version"] == 1
    assert all({"asked", "answered", "expected"} <= set(answer) for answer in facts["answers"])
    assert all({"name", "seconds"} <= set(phase) for phase in facts["phases"])
    assert facts["report"] == "/home/ada/ai-how-demo.html"


@pytest.mark.parametrize("width", [40, 80, 160, 300])
def test_the_timeline_fits_any_terminal(width: int) -> None:
    lines = printed(sample(), width).splitlines()
    timeline = lines[2 : 2 + len(sample().phases)]
    assert all(len(line) <= width for line in timeline)
    assert all("━" in line or "╸" in line or "╺" in line for line in timeline)


def test_where_there_are_no_line_drawing_characters_there_are_none() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=raw, width=80, highlight=False, soft_wrap=True)
    console.print(closing(sample()))
    raw.flush()
    assert b"###" in raw.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"\x1b" not in raw.buffer.getvalue()  # type: ignore[attr-defined]


def test_colours_are_named_on_a_terminal_only() -> None:
    shown = io.StringIO()
    Console(file=shown, width=80, force_terminal=True, color_system="standard").print(closing(sample()))
    assert "language model" in shown.getvalue() and "\x1b[" in shown.getvalue()
    assert "language model" not in printed(sample(), 80)
