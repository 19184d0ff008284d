"""What the commands share in talking to people: errors, tables, the progress of a plan."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.text import Text

from ai_how.cli import streams
from ai_how.errors import AiHowError

if TYPE_CHECKING:
    from ai_how.site import Site
    from ai_how.site.model import Plan, Step

#: Columns of a table that goes to a file or a pipe: nothing is cut short there.
_PLAIN_WIDTH = 200


class _Printer(Console):
    """A console that lets no line end in blanks where no terminal is: rich fills up a table's last column.

    What is told on standard error while something is done may be lost when nobody reads it; what is done goes on.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as caught:
            super().print(*objects, **options)
        text = "\n".join(line.rstrip(" ") for line in caught.get().split("\n"))
        try:
            self.file.write(text)
            self.file.flush()
        except OSError:
            if not self.stderr:
                raise
            streams.let_go(self.file)


out = _Printer(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
err = _Printer(
    stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH
)


def wrapping() -> Console:
    """A console for standard output that breaks what is too long for a terminal within its column."""
    return _Printer(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


def site_arguments(parser: argparse.ArgumentParser) -> None:
    """``--file`` and ``--root``, which every command about a site takes."""
    parser.add_argument("--file", type=Path, help="the site's file (default: $AI_HOW_FILE or ./cluster.yaml)")
    parser.add_argument("--root", type=Path, help="the site's folder (default: in your data folder)")


def json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the facts as one JSON object")


def file_argument(parser: argparse.ArgumentParser) -> None:
    """``--file`` alone, for commands about the file that need no site."""
    parser.add_argument("--file", type=Path, help="the site's file (default: $AI_HOW_FILE or ./cluster.yaml)")


def file_of(args: argparse.Namespace) -> Path:
    """The file that the arguments name, the environment, or nobody: then ``./cluster.yaml``."""
    import os

    return args.file or Path(os.environ.get("AI_HOW_FILE", "cluster.yaml"))


def site_of(args: argparse.Namespace) -> Site:
    """The site that the arguments name."""
    import os

    from ai_how.site import open_site

    file = args.file or (Path(os.environ["AI_HOW_FILE"]) if "AI_HOW_FILE" in os.environ else None)
    root = args.root or (Path(os.environ["AI_HOW_ROOT"]) if "AI_HOW_ROOT" in os.environ else None)
    return open_site(file, root)


def duration(seconds: float) -> str:
    """``48 s``, ``2 min 31 s``, ``1 h 2 min``, ``3 d 4 h``."""
    from ai_how.draw import words

    return words.duration(seconds).replace(words.THIN, " ")


def number(value: float) -> str:
    """Four digits that count; all of them, in groups, where the number is large: ``0.9833``, ``562,233,344``."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def print_json(facts: object) -> None:
    print(json.dumps(facts, indent=2, default=str))


def print_diff(text: str) -> None:
    """A unified difference, in colour on a terminal."""
    styles = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}
    for line in text.splitlines():
        style = next((style for sign, style in styles.items() if line.startswith(sign)), "")
        out.print(Text(line, style=style))


def print_error(error: AiHowError, *, as_json: bool = False) -> None:
    """What, where, why, what next; on standard error, or as JSON on standard output."""
    if as_json:
        print_json(error.as_json())
        return
    print_labelled("error", error.message, "bold red")
    for label, value in (("where", error.where), ("cause", error.cause)):
        if value:
            print_labelled(f"  {label}", value)
    for line in (error.detail or "").splitlines():
        err.print(Text(broken(f"  | {line}", err, "  | "), style="dim"))
    if error.todo:
        print_labelled("  next", error.todo)


def print_warning(text: str) -> None:
    """Something that is allowed but worth knowing; on standard error."""
    print_labelled("warning", text, "bold magenta")


def print_labelled(label: str, text: str, style: str = "bold") -> None:
    """``label: text`` on standard error."""
    indent = " " * (len(label) - len(label.lstrip()) + 4)
    line = Text(broken(f"{label}: {text}", err, indent))
    line.stylize(style, 0, len(label) + 1)
    err.print(line)


def broken(text: str, console: Console, indent: str = "") -> str:
    """A text broken between words for a terminal, its further lines set in; as it is for a file or a pipe.

    What is longer than a line, such as a path, is left whole, so that it can be copied.
    """
    if not console.is_terminal:
        return text
    return "\n".join(
        textwrap.fill(
            line, console.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for line in text.splitlines()
    )


def unexpected(error: Exception) -> AiHowError:
    """What nobody foresaw, as an error all the same; its traceback is kept in a file, for whoever mends it."""
    import errno
    import tempfile
    import traceback

    if isinstance(error, OSError) and error.strerror:
        # Of a file that takes another's place, it is the other's name that somebody knows.
        where = str(error.filename2 or error.filename) if error.filename else None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return AiHowError(
                "the disk is full",
                where=where,
                cause=error.strerror,
                todo="Free some space, and do the same again; `--root` puts a site on another disk.",
            )
        return AiHowError(f"the system refused: {error.strerror}", where=where)
    with tempfile.NamedTemporaryFile("w", prefix="ai-how-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    return AiHowError(
        f"an error that nobody foresaw: {type(error).__name__}: {error}",
        where=file.name,
        cause="this is a mistake in ai-how itself",
        todo="Please report it with the file named above. Nothing was lost: the same command can be run again.",
    )


class PlanProgress:
    """Shows a plan being carried out: one line a step as it ends, and on a terminal the steps under way."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or err
        self._started: dict[str, float] = {}
        self._done = self._total = 0
        self._begin = time.monotonic()
        self._lock = threading.Lock()
        self._status = self._console.status("") if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
            self._status.update("looking at what is there")
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def note(self, text: str) -> None:
        self._line("·", "cyan", text)

    def planned(self, plan: Plan) -> None:
        self._total = len(plan.work)

    def started(self, step: Step) -> None:
        with self._lock:
            self._started[step.id] = time.monotonic()
        self._refresh()

    def finished(self, step: Step, seconds: float) -> None:
        self._end(step)
        self._line("✓", "green", f"{step.action} {step.target}", f"{seconds:6.2f} s   ", step.why)

    def failed(self, step: Step, error: BaseException) -> None:
        self._end(step)
        self._line("✗", "red", f"{step.action} {step.target}")

    def undone(self, step: Step) -> None:
        self._line("↶", "magenta", f"took back: {step.action} {step.target}")

    def _end(self, step: Step) -> None:
        with self._lock:
            self._started.pop(step.id, None)
            self._done += 1
        self._refresh()

    def _line(self, sign: str, style: str, text: str, more: str = "", why: str = "") -> None:
        clock = f"{time.monotonic() - self._begin:6.1f}s"
        line = Text.assemble((clock, "dim"), " ", (sign, style), f" {text:<22}")
        if more:
            # Where there is no room for both, what it is for says more than that it was not there.
            last = why.partition("; ")[2]
            short = last and line.cell_len + len(more) + len(why) > self._console.width
            line.append(f" {more}{last if short else why}", style="dim")
        line.truncate(max(self._console.width, 40), overflow="ellipsis")
        self._console.print(line, soft_wrap=False, overflow="ellipsis", no_wrap=True)

    def _refresh(self) -> None:
        if self._status:
            with self._lock:
                names = ", ".join(one.replace(":", " ", 1) for one in list(self._started)[:4])
            self._status.update(f"{self._done} of {self._total}  {names}")
