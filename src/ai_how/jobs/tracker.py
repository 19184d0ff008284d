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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ai_how.client.tracking import Tracking
from ai_how.client.untracked import Untracked
from ai_how.errors import AiHowError
from ai_how.jobs.collect import collect
from ai_how.jobs.control import Jobs, write_record
from ai_how.jobs.far import Far
from ai_how.jobs.model import LOST, WHY_FORGOTTEN, WHY_LOST, JobFolder, JobRecord, noted_id
from ai_how.providers.existing import reach_of_site
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
#: After this long without a word of accounting, a job of somebody else's cluster is closed without.
UNACCOUNTED_SECONDS = 120.0
LONGEST_PAUSE = 5.0


class Tracker:
    """Sees jobs to their end in MLflow."""

    def __init__(self, jobs: Jobs, slurm: Slurm, tracking: Tracking, far: Far | None = None) -> None:
        self._jobs = jobs
        self._slurm = slurm
        self._tracking = tracking
        self._far = far

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
            try:
                closed += self._see_to(folder, record, known)
            except (AiHowError, OSError) as error:
                # What is wrong with one (a full disk, a server that is down) is no reason to leave the others.
                log.warning("job %s (%s) is tried again: %s", record.job_id, folder.path.name, error)
        return closed

    def _see_to(self, folder: JobFolder, record: JobRecord, known: Mapping[int, Job]) -> bool:
        record = _adopted(folder, record, self._far)
        if abandoned(record, known.values(), time.time()):
            self._tracking.close(record.run_id, NEVER_SUBMITTED, {}, {"slurm.state": NEVER_SUBMITTED})
            write_record(folder, replace(record, state=NEVER_SUBMITTED))
            return False
        if not record.job_id:
            return False
        held = known.get(record.job_id)
        job = held or next(iter(self._slurm.history(record.job_id)), None)
        if lost(self._far.folder(folder) if self._far else folder, held, job):
            return self._give_up(folder, record)
        if job is not None and job.ended:
            return self._close(folder, record, job)
        if self._far and job is not None:
            collect(self._far, self._tracking, folder, record)
        return False

    def _give_up(self, folder: JobFolder, record: JobRecord) -> bool:
        """Close the run of a job that is lost: its log so far, and the reason."""
        why = WHY_FORGOTTEN if self._far else WHY_LOST
        for path in _artifacts(folder, record, record.job_id):
            self._tracking.artifacts(record.run_id, path)
        tags = {"slurm.job_id": str(record.job_id), "slurm.state": LOST, "ai_how.reason": why}
        self._tracking.close(record.run_id, LOST, {}, tags)
        write_record(folder, replace(record, state=LOST))
        log.warning("job %s (%s) is lost: %s", record.job_id, record.name, why)
        return True

    def _close(self, folder: JobFolder, record: JobRecord, job: Job) -> bool:
        entry = self._slurm.accounting([job.id]).get(job.id)
        if entry is None or entry.state in ("RUNNING", "PENDING"):
            # slurmdbd hears of it a moment later than slurmctld; somebody else's may keep nothing at all.
            if not self._far or time.time() - job.end < UNACCOUNTED_SECONDS:
                return False
            entry = None
        if self._far:
            job = self._slurm.job(job.id) or job  # with its exit code and restarts
            collect(self._far, self._tracking, folder, record, ended=True)
        version = record.model_version
        registers = record.model and record.run_id and folder.model.is_dir()
        if job.completed and record.model and registers and version is None:
            tags = {"ai_how.job_id": str(job.id), "ai_how.recipe": record.name}
            version = self._tracking.register(record.model, record.run_id, folder.model, tags).version
            record = replace(record, model_version=version)
            write_record(folder, record)
        for path in _artifacts(folder, record, job.id):
            self._tracking.artifacts(record.run_id, path)
        facts = {**(measured(entry) if entry else {}), "slurm.restarts": float(job.restarts)}
        self._tracking.close(
            record.run_id,
            job.state,
            facts,
            {
                "slurm.job_id": str(job.id),
                "slurm.state": job.state,
                "slurm.nodes": entry.nodes if entry else job.nodes,
            },
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


def _adopted(folder: JobFolder, record: JobRecord, far: Far | None) -> JobRecord:
    """A record whose submitter died between sbatch and writing down the job's id: the job itself noted it."""
    if record.job_id:
        return record
    path = folder.path / "job_id"
    noted = far.noted(folder) if far else noted_id(path.read_text()) if path.exists() else 0
    if not noted:
        return record
    record = record.with_job(noted)
    write_record(folder, record)
    return record


def _artifacts(folder: JobFolder, record: JobRecord, job_id: int) -> Iterator[Path]:
    for path in (Path(record.log.replace("%j", str(job_id))), folder.batch):
        if path.exists():
            yield path


def _own_slurm() -> Slurm:
    folder = Path(os.environ["AI_HOW_SLURM_BIN"])
    return Slurm(LocalGate(), {}, {name: folder / name for name in ("scontrol", "sacct")})


def serve(root: Path, stop: threading.Event) -> None:
    """Rounds until told to stop; whoever connects to the socket learns that the tracker lives."""
    layout = Layout(root)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    tracking = Tracking(uri) if uri else Untracked()
    reach = reach_of_site(layout)
    far = Far(reach.cluster) if reach else None
    slurm = reach.slurm if reach else _own_slurm()
    tracker = Tracker(Jobs(slurm, layout, tracking, SystemClock(), far), slurm, tracking, far)
    pause = reach.existing.poll_seconds if reach else LONGEST_PAUSE
    address = layout.run / "tracker.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        asked = 0.0
        while not stop.is_set():
            # Slurm is asked seldom: on an emulated node every question takes time from a job.
            try:
                if tracker.due() or time.monotonic() - asked > pause:
                    asked = time.monotonic()
                    tracker.round()
            except (AiHowError, OSError) as error:
                log.warning("tried again: %s", error)
            stop.wait(PAUSE)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve(Path(sys.argv[1]), stop)


if __name__ == "__main__":
    main()
