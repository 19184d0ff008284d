"""The tracker: a daemon that closes the run of every job that has ended.

    python -m ai_how.jobs.tracker SITE_FOLDER

A run gets Slurm's own accounting, the job's log and its model, however the job ended and whoever was waiting for
it. What cannot be recorded now (MLflow is down, slurmctld does not answer) is tried again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ai_how.client.tracking import Tracking
from ai_how.errors import AiHowError
from ai_how.jobs.control import Jobs, write_record
from ai_how.jobs.model import LOST, WHY_LOST, JobFolder, JobRecord
from ai_how.run import LocalGate, SystemClock
from ai_how.services import Layout
from ai_how.slurm.control import Slurm
from ai_how.slurm.model import Accounting, Job

log = logging.getLogger("ai_how.jobs.tracker")
#: Seconds between two looks at the jobs' folders, and the longest between two questions to Slurm.
PAUSE = 0.5
#: After this long a record without a job's id has lost its submitter; the state it is closed by is our own word.
ABANDONED_SECONDS = 300.0
NEVER_SUBMITTED = "NEVER_SUBMITTED"
LONGEST_PAUSE = 5.0


class Tracker:
    """Sees jobs to their end in MLflow."""

    def __init__(self, jobs: Jobs, slurm: Slurm, tracking: Tracking) -> None:
        self._jobs = jobs
        self._slurm = slurm
        self._tracking = tracking

    def due(self) -> bool:
        """Whether the batch script of a job whose run is open has ended: time for a :meth:`round` at once."""
        return any(folder.ended.exists() for folder, record in self._jobs.records() if not record.closed)

    def round(self) -> int:
        """One look at every job whose run is open; returns how many were closed."""
        open_records = [pair for pair in self._jobs.records() if not pair[1].closed]
        if not open_records:
            return 0
        known = {job.id: job for job in self._slurm.jobs()}
        closed = 0
        for folder, record in open_records:
            record = _adopted(folder, record)
            if abandoned(record, known.values(), time.time()):
                self._tracking.close(record.run_id, NEVER_SUBMITTED, {}, {"slurm.state": NEVER_SUBMITTED})
                write_record(folder, replace(record, state=NEVER_SUBMITTED))
                continue
            if not record.job_id:
                continue
            held = known.get(record.job_id)
            job = held or next(iter(self._slurm.history(record.job_id)), None)
            try:
                if lost(folder, held, job):
                    closed += self._give_up(folder, record)
                elif job is not None and job.ended:
                    closed += self._close(folder, record, job)
            except AiHowError as error:
                log.warning("job %s is tried again: %s", record.job_id, error)
        return closed

    def _give_up(self, folder: JobFolder, record: JobRecord) -> bool:
        """Close the run of a job that is lost: its log so far, and the reason."""
        for path in _artifacts(folder, record, record.job_id):
            self._tracking.artifacts(record.run_id, path)
        tags = {"slurm.job_id": str(record.job_id), "slurm.state": LOST, "ai_how.reason": WHY_LOST}
        self._tracking.close(record.run_id, LOST, {}, tags)
        write_record(folder, replace(record, state=LOST))
        log.warning("job %s (%s) is lost: %s", record.job_id, record.name, WHY_LOST)
        return True

    def _close(self, folder: JobFolder, record: JobRecord, job: Job) -> bool:
        entry = self._slurm.accounting([job.id]).get(job.id)
        if entry is None or entry.state in ("RUNNING", "PENDING"):
            return False  # slurmdbd hears of it a moment later than slurmctld
        version = record.model_version
        if job.completed and record.model and folder.model.is_dir() and version is None:
            tags = {"ai_how.job_id": str(job.id), "ai_how.recipe": record.name}
            version = self._tracking.register(record.model, record.run_id, folder.model, tags).version
            record = replace(record, model_version=version)
            write_record(folder, record)
        for path in _artifacts(folder, record, job.id):
            self._tracking.artifacts(record.run_id, path)
        facts = {**measured(entry), "slurm.restarts": float(job.restarts)}
        self._tracking.close(
            record.run_id,
            job.state,
            facts,
            {"slurm.job_id": str(job.id), "slurm.state": job.state, "slurm.nodes": entry.nodes},
        )
        write_record(folder, replace(record, state=job.state, accounting=facts))
        log.info("job %s (%s) is closed as %s", job.id, record.name, job.state)
        return True


def abandoned(record: JobRecord, jobs: Iterable[Job], now: float) -> bool:
    """Whether a submitter died before sbatch: no job noted its id, and none that waits can be this one. Pure."""
    if record.job_id or now - record.submitted < ABANDONED_SECONDS:
        return False
    return not any(job.name == record.name and not job.ended for job in jobs)


def lost(folder: JobFolder, held: Job | None, known: Job | None) -> bool:
    """Whether slurmctld was killed before it had written the job down, which takes it up to five seconds. Pure.

    ``held`` is what slurmctld holds under the job's id, ``known`` that or what accounting says. Neither may have heard
    of it; accounting may have, and waits for its end in vain; and slurmctld gives the id away again, to a job
    that runs in another folder.
    """
    if held is None:
        return known is None or not known.ended
    return bool(held.work_dir) and Path(held.work_dir) != folder.scripts


def measured(entry: Accounting) -> dict[str, float]:
    """Slurm's accounting as metrics: seconds and bytes. Pure."""
    return {
        "slurm.elapsed_seconds": float(entry.elapsed_seconds),
        "slurm.cpu_seconds": entry.cpu_seconds,
        "slurm.max_rss_bytes": float(entry.max_rss_bytes),
    }


def _adopted(folder: JobFolder, record: JobRecord) -> JobRecord:
    """A record whose submitter died between sbatch and writing down the job's id: the job itself noted it."""
    noted = folder.path / "job_id"
    if record.job_id or not noted.exists():
        return record
    record = record.with_job(int(noted.read_text()))
    write_record(folder, record)
    return record


def _artifacts(folder: JobFolder, record: JobRecord, job_id: int) -> Iterator[Path]:
    for path in (Path(record.log.replace("%j", str(job_id))), folder.batch):
        if path.exists():
            yield path


def serve(root: Path, stop: threading.Event) -> None:
    """Rounds until told to stop; whoever connects to the socket learns that the tracker lives."""
    layout, gate = Layout(root), LocalGate()
    tracking = Tracking(os.environ["MLFLOW_TRACKING_URI"])
    programs = {name: Path(os.environ["AI_HOW_SLURM_BIN"]) / name for name in ("scontrol", "sacct")}
    slurm = Slurm(gate, {}, programs)
    tracker = Tracker(Jobs(slurm, layout, tracking, SystemClock()), slurm, tracking)
    address = layout.run / "tracker.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        asked = 0.0
        while not stop.is_set():
            # Slurm is asked seldom: on an emulated node every question takes time from a job.
            if tracker.due() or time.monotonic() - asked > LONGEST_PAUSE:
                asked = time.monotonic()
                try:
                    tracker.round()
                except AiHowError as error:
                    log.warning("tried again: %s", error)
            stop.wait(PAUSE)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve(Path(sys.argv[1]), stop)


if __name__ == "__main__":
    main()
