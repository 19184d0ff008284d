"""What is left of a job that could not be submitted, and of one whose submitter was interrupted."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from ai_how.errors import AiHowError, CommandFailed, TimedOut
from ai_how.jobs import control
from ai_how.jobs import tracker as tracker_module
from ai_how.jobs.control import Jobs, find_recipe, write_record
from ai_how.jobs.far import Far
from ai_how.jobs.model import JobFolder, JobRecord, noted_id
from ai_how.jobs.tracker import Tracker
from ai_how.providers.cluster import Cluster
from ai_how.run import LocalShare, SystemClock
from ai_how.services import Layout
from ai_how.slurm.model import Job


class Runs:
    """MLflow, as far as a submission asks it."""

    uri = "http://127.0.0.1:1"

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.discarded: list[str] = []

    def new_run(self, *words: object) -> str:
        return self._do("new_run") or "run"

    def params(self, *words: object) -> None:
        self._do("params")

    def artifacts(self, *words: object) -> None:
        self._do("artifacts")

    def close(self, *words: object) -> None:
        self._do("close")

    def discard(self, run: str) -> None:
        self.discarded.append(run)

    def _do(self, what: str) -> str:
        if what == self.failing:
            raise AiHowError("MLflow did not do it")
        return ""


class Controller:
    """Slurm: what sbatch does, and what it knows."""

    def __init__(self, error: BaseException | None = None, known: tuple[Job, ...] = ()) -> None:
        self.error = error
        self.known = known

    def submit(self, *words: object) -> int:
        if isinstance(self.error, KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        elif self.error:
            raise self.error
        return 7

    def jobs(self) -> list[Job]:
        return list(self.known)

    def history(self, job_id: int | None = None) -> list[Job]:
        return []


def jobs(tmp_path: Path, slurm: Controller, runs: Runs) -> Jobs:
    return Jobs(cast(Any, slurm), Layout(tmp_path), cast(Any, runs), SystemClock())


@pytest.mark.parametrize(
    ("error", "failing"),
    [
        pytest.param(None, "new_run", id="MLflow is down"),
        pytest.param(None, "params", id="MLflow goes down"),
        pytest.param(CommandFailed("sbatch refused"), "", id="Slurm refuses"),
    ],
)
def test_nothing_is_left_of_a_job_that_was_not_submitted(
    tmp_path: Path, error: BaseException | None, failing: str
) -> None:
    runs = Runs(failing)
    with pytest.raises(AiHowError):
        jobs(tmp_path, Controller(error), runs).submit(find_recipe("digits"), "python3", {})
    assert list((tmp_path / "share" / "jobs").iterdir()) == []
    assert runs.discarded == ([] if failing == "new_run" else ["run"])


def test_a_job_that_slurm_may_hold_keeps_its_folder(tmp_path: Path) -> None:
    asked = jobs(tmp_path, Controller(TimedOut("sbatch did not end")), Runs())
    with pytest.raises(TimedOut):
        asked.submit(find_recipe("digits"), "python3", {})
    assert [record.job_id for _, record in asked.records()] == [0]


def test_ctrl_c_while_sbatch_runs_loses_no_job(tmp_path: Path) -> None:
    asked = jobs(tmp_path, Controller(KeyboardInterrupt()), Runs())
    with pytest.raises(KeyboardInterrupt):
        asked.submit(find_recipe("digits"), "python3", {})
    assert [record.job_id for _, record in asked.records()] == [7]


def test_a_disk_that_is_full_once_slurm_has_the_job_takes_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: JobFolder, record: JobRecord) -> None:
        if record.job_id:
            raise OSError(28, os.strerror(28))
        write_record(folder, record)

    monkeypatch.setattr(control, "write_record", full)
    asked = jobs(tmp_path, Controller(), Runs())
    with pytest.raises(OSError, match="No space"):
        asked.submit(find_recipe("digits"), "python3", {})
    assert [record.job_id for _, record in asked.records()] == [0]


def test_an_id_counts_when_it_is_written_whole() -> None:
    assert [noted_id(text) for text in ("", "1", "12\n", "x\n")] == [0, 0, 12, 0]


def test_a_record_that_is_taken_back_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder(tmp_path / "share" / "jobs" / "digits-0")
    write_record(folder, JobRecord("digits", "train", "run", 0.0))
    read = Path.read_text

    def gone(path: Path, *words: Any, **more: Any) -> str:
        path.unlink()
        return read(path, *words, **more)

    monkeypatch.setattr(Path, "read_text", gone)
    assert list(jobs(tmp_path, Controller(), Runs()).records()) == []


def test_a_full_disk_at_one_job_leaves_the_tracker_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: object) -> None:
        raise OSError(28, os.strerror(28))

    known = jobs(tmp_path, Controller(), Runs())
    write_record(
        JobFolder(tmp_path / "share" / "jobs" / "digits-0"), JobRecord("digits", "train", "r", 0.0, 5)
    )
    monkeypatch.setattr(tracker_module, "write_record", full)
    assert Tracker(known, cast(Any, Controller()), cast(Any, Runs())).round() == 0


def test_a_log_that_two_bring_at_once_is_whole(tmp_path: Path) -> None:
    """The tracker, and somebody who follows the job."""
    there, here = tmp_path / "there", tmp_path / "here" / "job.log"
    text = b"".join(b"line %d\n" % number for number in range(1000))
    both = threading.Barrier(2)

    class Slow(LocalShare):
        def read_on(self, path: Path, position: int) -> bytes:
            found = super().read_on(path, position)
            both.wait(30)
            return found

    far = Far(Cluster(cast(Any, None), Slow(), there, apart=True))
    (there / "log" / "jobs").mkdir(parents=True)
    far.log(here.name).write_bytes(text)
    bringing = [threading.Thread(target=far.bring_log, args=(here,)) for _ in range(2)]
    for one in bringing:
        one.start()
    for one in bringing:
        one.join()
    assert here.read_bytes() == text
