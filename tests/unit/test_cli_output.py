"""What the commands print, on a terminal and where there is none."""

from __future__ import annotations

import argparse
import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from ai_how.cli import jobs, main, output, plan, status, submitting
from ai_how.errors import AiHowError
from ai_how.site.overview import Overview
from ai_how.slurm.model import Job

INVENTORIES = Path(__file__).parents[2] / "examples" / "inventories"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 60 columns in the place of both streams."""
    said = io.StringIO()
    console = Console(
        file=said, width=60, force_terminal=True, color_system=None, soft_wrap=True, highlight=False
    )
    for module in (output, jobs, status):
        for name in ("out", "err"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, console)
    return said


def test_no_line_of_a_table_ends_in_blanks_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", "a wide column", box=None)
    table.add_row("x", "y")
    output.out.print(table, soft_wrap=False)
    output.out.print("as it is", end="")
    said = capsys.readouterr().out
    assert said.endswith("as it is") and len(said.splitlines()) == 3
    assert not [line for line in said.splitlines() if line.endswith(" ")]


def test_an_error_is_broken_between_words_and_its_paths_are_left_whole(terminal: io.StringIO) -> None:
    path = "/a/very/long/path/of/more/than/sixty/columns/that/somebody/wants/to/copy.yaml"
    output.print_error(
        AiHowError(
            "there is not enough of what was asked for, by a long way", where=path, detail="a b\n" + "c " * 40
        )
    )
    lines = [line.rstrip() for line in terminal.getvalue().splitlines()]
    assert lines[:2] == ["error: there is not enough of what was asked for, by a long", "    way"]
    assert any(line.strip() == path for line in lines)
    assert [line for line in lines if line.startswith("  | ")] == [
        "  | a b",
        f"  | {'c ' * 28}".rstrip(),
        f"  | {'c ' * 12}".rstrip(),
    ]


def test_an_error_is_left_as_it_is_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(AiHowError("word " * 60 + "end", todo="Do this."))
    assert capsys.readouterr().err == f"error: {'word ' * 60}end\n  next: Do this.\n"


@pytest.mark.parametrize(
    ("value", "text"), [(0.98333, "0.9833"), (44.0, "44"), (562233344.0, "562,233,344"), (0.0, "0")]
)
def test_numbers(value: float, text: str) -> None:
    assert output.number(value) == text


def service(name: str, seconds: int | None) -> dict[str, Any]:
    return {"name": name, "state": "running", "healthy": True, "detail": None, "pid": 7, "seconds": seconds}


def test_the_status_says_for_how_long_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    sick = {
        **service("x", None),
        "healthy": False,
        "detail": "http://127.0.0.1:1/very/long/path: [Errno 111] Connection refused",
    }
    facts = {
        "name": "laptop", "folder": "/srv", "up": True, "services": [service("munged", 200), sick],
        "nodes": [{"state": "IDLE"}, {"state": "IDLE"}, {"state": "DOWN"}], "addresses": {"s3": "http://x"},
    }  # fmt: skip
    status._show(facts)
    lines = capsys.readouterr().out.splitlines()
    assert "munged   running  healthy    7    3 min 20 s" in lines
    assert "x: http://127.0.0.1:1/very/long/path: [Errno 111] Connection refused" in lines
    assert lines[-2:] == ["nodes    1 down, 2 idle", "s3       http://x"]


class SomeJobs:
    """Two jobs, the first with a record."""

    def records(self) -> list[Any]:
        return [(None, argparse.Namespace(job_id=1, run_id="f" * 32))]

    def list(self) -> list[Job]:
        return [Job(1, "digits", "FAILED", elapsed=3725), Job(2, "told", "PENDING", reason="BeginTime")]


def test_the_list_of_jobs_has_runs_where_there_is_room_for_them(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = argparse.Namespace(json=False)
    jobs._list(args, SomeJobs())  # type: ignore[arg-type]
    narrow = terminal.getvalue()
    assert "1 h 2 min" in narrow and "(BeginTime)" in narrow and "fff" not in narrow and "…" not in narrow
    monkeypatch.setattr(jobs, "out", output._Printer(highlight=False, width=160))
    jobs._list(args, SomeJobs())  # type: ignore[arg-type]
    assert "f" * 32 in capsys.readouterr().out


def test_moments_and_measures_are_shown_as_people_read_them() -> None:
    assert jobs._readable("elapsed", 125) == "2 min 5 s"
    assert jobs._readable("submit", 1_000_000_000).startswith("2001-09-")
    assert jobs._readable("slurm.max_rss_bytes", 606748672.0) == "606,748,672"
    assert jobs._readable("restarts", 1) == "1"


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        (Job(1, "x", "PENDING", reason="Resources"), "pending (Resources)"),
        (Job(1, "x", "RUNNING"), "running"),
        (Job(1, "x", "COMPLETED", reason="None of it"), "completed"),
        (Job(1, "x", "CANCELLED"), "cancelled"),
        (Job(1, "x", "TIMEOUT"), "[red]timeout[/]"),
        (Job(1, "x", "LOST"), "[red]lost[/]"),
    ],
)
def test_the_state_of_a_job_is_red_where_somebody_has_to_look(job: Job, shown: str) -> None:
    assert jobs._state(job) == shown


def test_a_reader_that_has_seen_enough_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    # Nothing is written before the buffer is flushed at the end, where the interpreter would complain of it.
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        assert main(["--version"]) == 0
    assert capfd.readouterr().err == ""


def test_a_full_disk_is_named_wherever_it_is_met() -> None:
    failure = output.unexpected(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert failure.message == "the disk is full" and failure.todo and "--root" in failure.todo


def test_what_is_done_goes_on_when_nobody_reads_how_it_goes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        progress = output.PlanProgress(output._Printer(file=closed, stderr=True, width=80))
        with progress:
            progress.note("stopping the daemons")
            progress.note("and on it goes")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_stop_nothing(tmp_path: Path, closed: str) -> None:
    file = tmp_path / "cluster.yaml"
    command = f'exec "$0" -I -m ai_how init "$1" {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, file], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "laptop" in file.read_text()


def test_an_answer_that_cannot_be_written_is_an_error_and_no_more_than_that() -> None:
    command = 'exec "$0" -I -m ai_how schema >/dev/full'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full\n") and "Exception" not in done.stderr


def test_a_task_of_an_array_is_no_other_job() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    jobs.arguments(parser)
    assert parser.parse_args(["cancel", "91"]).job == 91
    assert parser.parse_args(["cancel", "9_1"]).job == "9_1"


@pytest.mark.parametrize("text", ["9_[3-5]", "9_", "_9", "0", "-1", "1.batch", "٣", "9 1"])
def test_what_is_no_job_is_told_before_anybody_is_asked(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["jobs", "cancel", "--", text])
    assert ended.value.code == 2 and "12_3" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["[/foo]", "[red]x", "a\nb"])
def test_the_name_of_a_job_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], name: str) -> None:
    class Named(SomeJobs):
        def list(self) -> list[Job]:
            return [Job(1, name, "RUNNING", nodes="node[01-02]")]

        def find(self, job_id: int) -> Job:
            return self.list()[0]

        def record(self, job_id: int) -> None:
            return None

    jobs._list(argparse.Namespace(json=False), Named())  # type: ignore[arg-type]
    jobs._show(argparse.Namespace(json=False, job=1), None, Named())  # type: ignore[arg-type]
    assert capsys.readouterr().out.count(name.replace("\n", "?")) == 2


def test_brackets_in_words_of_the_user_are_shown_and_are_no_colours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status._show({"name": "x", "folder": "/a [/b]", "up": True, "services": [], "nodes": [], "addresses": {}})
    submitting._told(
        argparse.Namespace(json=False), {"job_id": 1, "run_id": "", "result": {"said [/x]": "[/y] [red]"}}
    )
    overview = Overview("x", "one [/c] machine", {}, (), (), (), None)  # type: ignore[arg-type]
    plan._show_overview(argparse.Namespace(shown_gpus=None), overview)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert all(words in said for words in ("/a [/b]", "said [/x]", "[/y] [red]", "one [/c] machine"))


def test_the_doctors_tables_end_in_no_blanks_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--inventory", str(INVENTORIES / "laptop.yaml")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5 and not [line for line in lines if line.endswith(" ")]


def test_whoever_leaves_a_job_is_told_that_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ai_how.site.work.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submitting._ended(None, argparse.Namespace(job_id=31))  # type: ignore[arg-type]
    assert "job 31 goes on" in (said := capsys.readouterr().err) and "ai-how jobs cancel 31" in said
