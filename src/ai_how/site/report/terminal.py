"""The facts of a demo for a terminal: a timeline and a closing summary, as rich renderables.

They take the width they are printed at; without a terminal they are plain text, and where the encoding has no
line-drawing characters they do without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from ai_how.draw import words
from ai_how.site.report.model import PARTS, Answer, DemoFacts, Part, Phase, Score

_STYLES: dict[Part, str] = {
    "set-up": "dim",
    "site": "magenta",
    "train": "bright_blue",
    "finetune": "yellow",
    "serve": "cyan",
}
_NAMES: dict[Part, str] = {
    "set-up": "set-up",
    "site": "site",
    "train": "digits",
    "finetune": "language model",
    "serve": "serving",
}
_WIDEST_NAME = 30
_NUMBER = 14
_SHORTEST_BAR = 10
_WIDEST = 160
"""Beyond this many columns a bar says no more."""


@dataclass(frozen=True)
class Timeline:
    """One line a phase: its name, its seconds, where it lies in the whole. With colours, what they mean."""

    phases: Sequence[Phase]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        total = max((phase.end for phase in self.phases), default=0.0) or 1.0
        widest = max((len(phase.name) for phase in self.phases), default=0)
        name = max(min(widest, _WIDEST_NAME, options.max_width - _NUMBER - _SHORTEST_BAR), 8)
        room = max(min(options.max_width, _WIDEST) - name - _NUMBER, _SHORTEST_BAR)
        for phase in self.phases:
            line = Text("  ", no_wrap=True)
            line.append(_cut(phase.name, name, options.ascii_only).ljust(name))
            line.append(f"{phase.seconds:6.1f} s  ")
            line.append(bar(phase, total, room, ascii_only=options.ascii_only), style=_STYLES[phase.part])
            yield line
        if console.color_system:
            yield _legend(self.phases)


def bar(phase: Phase, total: float, room: int, *, ascii_only: bool = False) -> str:
    """The phase as a line of that many columns, to half a column; never less than half a one."""
    start = round(phase.start / total * room * 2)
    end = max(round(phase.end / total * room * 2), start + 1)
    if end > room * 2:
        start, end = room * 2 - 1, room * 2
    if ascii_only:
        return " " * (start // 2) + "#" * max((end + 1) // 2 - start // 2, 1)
    cells = " " * (start // 2) + ("╺" if start % 2 else "")
    cells += "━" * (end // 2 - (start + 1) // 2)
    return cells + ("╸" if end % 2 and not (start % 2 and end - start == 1) else "")


@dataclass(frozen=True)
class Answers:
    """Each question with what was answered, and what was expected where that is something else."""

    answers: Sequence[Answer]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        right, wrong = ("+", "x") if options.ascii_only else ("✓", "✗")
        for answer in self.answers:
            sign = (f"  {right} ", "green") if answer.right else (f"  {wrong} ", "red")
            yield Text(f"  {answer.asked}", style="dim")
            yield Text.assemble(sign, answer.answered, (f"  {answer.milliseconds:.0f} ms", "dim"))
            if not answer.right:
                yield Text(f"    expected: {answer.expected}", style="red")


def closing(facts: DemoFacts) -> RenderableType:
    """The timeline, the figures, the answers, and where the report is."""
    times = f"set-up {facts.setup_seconds:.1f} s, all the rest {facts.after_setup_seconds:.1f} s"
    return Group(
        "",
        _heading("How the time went", times),
        Timeline(facts.phases),
        "",
        _heading("What came of it", facts.host.computed_on),
        _figures(facts),
        "",
        _heading("What it answers", f"{facts.right_answers} of {len(facts.answers)} exactly right"),
        Answers(facts.answers),
        "",
        Text.assemble("  report  ", (facts.report, "bold"), overflow="fold"),
    )


def _heading(title: str, note: str) -> Text:
    return Text.assemble((title, "bold"), (f"  {note}", "dim"))


def _legend(phases: Sequence[Phase]) -> Text:
    """Which colour is what; colours without names would be a riddle."""
    present = [part for part in PARTS if any(phase.part == part for phase in phases)]
    return Text("  ").join([Text(""), *[Text(_NAMES[part], style=_STYLES[part]) for part in present]])


def _figures(facts: DemoFacts) -> Text:
    """A line a figure: its name, the figure, where it comes from."""
    train, tuned, model = facts.train, facts.finetune, facts.model
    learnt, paraphrased = tuned.learnt, tuned.paraphrased
    nodes = f"{len(train.job.nodes)} node{'' if len(train.job.nodes) == 1 else 's'}"
    rows: list[tuple[Part, str, str, str]] = [
        ("train", "accuracy", words.percent(train.accuracy), f"of {train.held_out} held-out digits, {nodes}"),
        ("finetune", "loss", words.loss(tuned.loss_last), f"down from {words.loss(tuned.loss_first)}"),
        ("finetune", "exact match", words.percent(learnt.exact_match), f"{_of(learnt)} questions it learnt"),
        ("finetune", "", words.percent(paraphrased.exact_match), f"{_of(paraphrased)} held-out paraphrases"),
        (
            "serve",
            "model",
            f"{model.name} {model.version}",
            f"served by {model.engine}" if model.engine else "",
        ),
    ]
    widest = max(len(value) for _, _, value, _ in rows)
    lines = []
    for part, name, value, note in rows:
        # Terminals do not all know the narrow space.
        value = value.replace(words.THIN, " ").ljust(widest)
        lines.append(Text.assemble((f"  {name:<13}", _STYLES[part]), (value, "bold"), (f"  {note}", "dim")))
    return Text("\n").join(lines)


def _of(score: Score) -> str:
    return f"{score.right} of {score.questions}"


def _cut(name: str, room: int, ascii_only: bool) -> str:
    if len(name) <= room:
        return name
    return name[: room - 3] + "..." if ascii_only else name[: room - 1] + "…"
