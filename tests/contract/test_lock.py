"""The lock on a file: one holder, named; gone with its holder, however that ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ai_how.errors import LockHeld
from ai_how.run import FileLock

HOLD = """
import sys, time
from pathlib import Path
from ai_how.run import FileLock
with FileLock(Path(sys.argv[1]), "up"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lock"


def test_the_second_holder_is_told_who_the_first_is(path: Path) -> None:
    with (
        FileLock(path, "up"),
        pytest.raises(LockHeld, match=rf"`ai-how up` \(process {os.getpid()}, since") as caught,
    ):
        FileLock(path, "down").__enter__()
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 5


def test_it_can_be_had_again(path: Path) -> None:
    for _ in range(3):
        with FileLock(path, "up"):
            assert path.stat().st_mode & 0o077 == 0
    assert path.read_text() == ""


def test_an_error_inside_gives_it_back(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), FileLock(path, "up"):
        raise ZeroDivisionError
    with FileLock(path, "down"):
        pass


def test_it_goes_with_a_holder_that_is_killed(path: Path) -> None:
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match=f"process {holder.pid}"):
            FileLock(path, "down").__enter__()
        holder.kill()
    # What the dead holder wrote is still there, and means nothing.
    assert str(holder.pid) in path.read_text()
    with FileLock(path, "down"):
        assert str(os.getpid()) in path.read_text()


def test_it_is_not_handed_on_to_programs_that_are_started(path: Path) -> None:
    with FileLock(path, "up"):
        child = subprocess.Popen(["sleep", "60"])
    with FileLock(path, "down"):
        child.kill()
        child.wait()


def test_a_holder_that_wrote_nothing_yet_is_another_process(path: Path) -> None:
    with FileLock(path, "up"):
        path.write_text("")
        with pytest.raises(LockHeld, match="being changed by another process"):
            FileLock(path, "down").__enter__()
