"""How a benchmark goes, while it goes: a panel on a terminal, elsewhere a line for each thing that happens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ai_how.cli.output import err

if TYPE_CHECKING:
    from ai_how.bench.work import Progress
    from ai_how.spec.bench import BenchRecipe

Heard = Callable[[str, "Progress"], None]
Say = Callable[[str], None]
_BLOCKS = " ▁▂▃▄▅▆▇█"
#: Answers a second that are drawn, one for each time that a run tells of itself.
_SHOWN = 60


@contextmanager
def watched(recipe: BenchRecipe) -> Iterator[tuple[Heard | None, Say]]:
    """Who is told how it goes, and what happens."""
    if not err.is_terminal:
        yield None, (lambda text: err.print(text, markup=False))
        return
    view = View(recipe.name)
    with Live(view, console=err, refresh_per_second=8, transient=True) as live:
        yield view.hear, (lambda text: live.console.print(text, style="dim", markup=False))


@dataclass
class View:
    """What is drawn: the run under way, how far it is, and how fast answers came lately."""

    name: str
    words: str = "getting ready"
    began: float = field(default_factory=time.monotonic)
    progress: Progress | None = None
    speeds: deque[float] = field(default_factory=lambda: deque(maxlen=_SHOWN))
    last: tuple[float, int] = (0.0, 0)

    def hear(self, words: str, progress: Progress) -> None:
        """Take in how a run is."""
        if words != self.words:
            self.words, self.last = words, (0.0, 0)
            self.speeds.clear()
        seconds, good = self.last
        if progress.seconds > seconds:
            self.speeds.append(max(0, progress.good - good) / (progress.seconds - seconds))
            self.last = progress.seconds, progress.good
        self.progress = replace(progress)  # whoever tells of it goes on counting in the same one

    def __rich__(self) -> RenderableType:
        return self.drawn()

    def drawn(self) -> RenderableType:
        """The panel as it is now; of a program with a load of its own, which tells nothing of it, the time alone."""
        head = Text.assemble(
            (self.name, "bold"), f"  {self.words}", (f"  {time.monotonic() - self.began:.0f} s", "dim")
        )
        how = self.progress
        if how is None or not (how.sent or how.intended):
            return head
        counts = Table.grid(padding=(0, 2))
        of = f" of {how.intended:,}" if how.intended is not None else ""
        failed = Text(f"{how.failed:,} failed", style="red" if how.failed else "dim")
        counts.add_row(f"{how.seconds:.1f} s", f"{how.sent:,}{of} sent", f"{how.good:,} answered", failed)
        speed = Text(f"{spark(self.speeds)} {self.speeds[-1]:,.0f}/s" if self.speeds else "", style="cyan")
        parts: list[RenderableType] = [head, counts, speed]
        if how.intended:
            bar = Table.grid()
            bar.add_row(ProgressBar(total=how.intended, completed=how.sent, width=60))
            parts.insert(2, bar)
        return Group(*parts)


def spark(values: deque[float]) -> str:
    """A row of blocks, the highest one full."""
    top = max(values, default=0.0) or 1.0
    return "".join(_BLOCKS[round(value / top * (len(_BLOCKS) - 1))] for value in values)
