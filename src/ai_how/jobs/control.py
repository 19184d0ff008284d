"""Jobs acted upon: submitted, listed, followed, cancelled."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_how.client.tracking import Tracking
from ai_how.errors import (
    AiHowError,
    CommandFailed,
    CouldNotTell,
    JobFailed,
    NotFound,
    SpecError,
    TimedOut,
    UsageError,
)
from ai_how.host import disk
from ai_how.jobs.far import Far
from ai_how.jobs.model import LOST, WHY_LOST, JobFolder, JobRecord, Submission
from ai_how.jobs.render import batch_script
from ai_how.run import Clock, undisturbed, wait_until, write_whole
from ai_how.run.files import read_whole
from ai_how.services import Layout
from ai_how.services.slurm import state_folder
from ai_how.slurm.control import Slurm
from ai_how.slurm.model import Job, JobId
from ai_how.spec.recipe import Recipe, parse_recipe

SHIPPED = Path(__file__).parent / "recipes"
#: What every recipe's script may import; copied beside it.
SUPPORT = SHIPPED / "ai_how_job"
LOG_LINES = 20
#: Seconds between two looks at a file, and the longest between two questions to Slurm.
POLL = 0.3
LONGEST_PAUSE = 5.0
#: Between two looks at somebody else's cluster.
FAR_POLL = 2.0
#: Seconds after which slurmctld must have written a job down, and after which it is asked no more whether it has.
WRITTEN_WITHIN = 7.0
ACKNOWLEDGED_WITHIN = 60.0


#: `ai-how validate` is for cluster.yaml alone; a recipe is checked by its own commands.
TO_CORRECT = "Correct it; with --dry-run the same command checks the recipe and submits nothing."


@dataclass(frozen=True)
class RecipeFile:
    """A recipe and the folder that its scripts are in."""

    recipe: Recipe
    path: Path


def find_recipe(name: str) -> RecipeFile:
    """The recipe at a path, or the shipped one of that name.

    Raises :class:`NotFound` when there is none or its script is missing, :class:`SpecError` for its mistakes.
    """
    path = Path(name)
    if path.is_dir():
        path = path / "recipe.yaml"
    if not path.is_file():
        path = SHIPPED / name / "recipe.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.parent.name for file in SHIPPED.glob("*/recipe.yaml")))
        raise NotFound(
            f"there is no recipe '{name}'",
            cause="it is neither a file nor a shipped recipe",
            todo=f"Shipped are: {known}. `--help` tells how to write one.",
        )
    try:
        recipe = parse_recipe(read_whole(path), str(path))
    except SpecError as error:
        error.todo = TO_CORRECT
        raise
    if not (path.parent / recipe.entry).is_file():
        raise NotFound(
            f"the recipe '{recipe.name}' names a script that is not there: {recipe.entry}",
            where=str(path),
            todo=f"Put it at {path.parent / recipe.entry}, or correct the recipe.",
        )
    return RecipeFile(recipe, path)


class Jobs:
    """The jobs of one site."""

    def __init__(
        self, slurm: Slurm, layout: Layout, tracking: Tracking, clock: Clock, far: Far | None = None
    ) -> None:
        self._slurm = slurm
        self._layout = layout
        self._tracking = tracking
        self._clock = clock
        self._far = far

    def prepare(self, recipe: Recipe, python: str, run_id: str, folder: JobFolder) -> Submission:
        """What the batch script is rendered from. Changes nothing."""
        log = self._layout.job_logs / f"{recipe.name}-%j.log"
        far = self._far
        return Submission(
            recipe=recipe,
            folder=far.folder(folder) if far else folder,
            log=far.log(log.name) if far else log,
            python=python,
            tracking_uri=far.tracking_uri(folder) if far else self._tracking.uri,
            run_id=run_id,
            arguments=recipe.arguments,
            binds=far.cluster.binds if far else (),
        )

    def new_folder(self, recipe: Recipe) -> JobFolder:
        """A name for a new job's folder; nothing is made yet."""
        return JobFolder(self._layout.jobs / f"{recipe.name}-{secrets.token_hex(4)}")

    def submit(self, file: RecipeFile, python: str, facts: Mapping[str, Any]) -> JobRecord:
        """Copy the recipe, open its run, hand the batch script to Slurm. The tracker sees to the end.

        The record is written before sbatch is called and the script notes its own job id, so that a job is
        found again even when this process dies in between.
        """
        folder, runs = self.new_folder(file.recipe), list[str]()
        try:
            return self._submit(file, python, facts, folder, runs)
        except BaseException as error:
            if folder.record.exists() and (not runs or isinstance(error, TimedOut | CouldNotTell)):
                raise  # Slurm holds the job, or may: the tracker adopts it when it has begun
            shutil.rmtree(folder.path, ignore_errors=True)
            with suppress(AiHowError):  # the server may be what failed
                for run_id in runs:
                    self._tracking.discard(run_id)
            raise

    def _submit(
        self, file: RecipeFile, python: str, facts: Mapping[str, Any], folder: JobFolder, runs: list[str]
    ) -> JobRecord:
        """The same without taking back. The run that is made is in ``runs`` until Slurm has the job."""
        recipe = file.recipe
        _copy_recipe(file, folder)
        folder.facts.write_text(json.dumps(facts, indent=2))
        run_id = self._tracking.new_run(
            recipe.name, folder.path.name, {"ai_how.kind": recipe.kind, "ai_how.folder": str(folder.path)}
        )
        runs.append(run_id)
        submission = self.prepare(recipe, python, run_id, folder)
        script = batch_script(submission)
        folder.batch.write_text(script)
        record = JobRecord(
            name=recipe.name,
            kind=recipe.kind,
            run_id=run_id,
            submitted=self._clock.now(),
            model=recipe.model.name if recipe.model else None,
            log=str(self._layout.job_logs / submission.log.name),
        )
        write_record(folder, record)
        self._tracking.params(run_id, {**recipe.arguments, **_asked(recipe)})
        self._tracking.artifacts(run_id, folder.batch)
        # Slurm may have taken the job before Ctrl-C ends sbatch. What is sent far away takes too long to hold it back.
        with nullcontext() if self._far else undisturbed():
            record = record.with_job(self._hand_over(script, submission, folder))
            runs.clear()
            write_record(folder, record)
        return record

    def _hand_over(self, script: str, submission: Submission, folder: JobFolder) -> int:
        """Give the script to Slurm; where the nodes do not see our folder, what the job needs goes there first."""
        far, scripts = self._far, submission.folder.scripts
        if far is None:
            return self._slurm.submit(script, submission.recipe.name, scripts)
        try:
            far.send(folder, submission.run_id)
        except CouldNotTell as error:
            raise AiHowError(
                error.message, where=error.where, cause=error.cause, todo=error.todo, detail=error.detail
            ) from error
        try:
            return self._slurm.submit(script, submission.recipe.name, scripts)
        except CommandFailed:
            far.withdraw(folder)
            raise

    def acknowledge(self, folder: JobFolder, record: JobRecord) -> None:
        """Wait until slurmctld has written the job down, which takes it up to five seconds: from then on it survives
        whatever is killed. Where the controller's files are somebody else's there is nothing to wait for.

        Raises :class:`NotFound` when it was killed before and knows nothing of the job.
        """
        kept = state_folder(self._layout) / "job_state"
        if not kept.parent.exists():
            return
        # The folder's name is a random one of this job's own, and part of what slurmctld keeps of it.
        trace, began = str(folder.scripts).encode(), self._clock.monotonic()

        def written() -> bool:
            if kept.exists() and trace in kept.read_bytes():
                return True
            if self._clock.monotonic() - began > WRITTEN_WITHIN:
                with suppress(CouldNotTell):  # it is being started again
                    self.find(record.job_id)
            return False

        with suppress(
            TimedOut
        ):  # it lives, holds the job, and cannot write: a full disk is told of elsewhere
            wait_until(
                written, what="slurmctld writing down the job", timeout=ACKNOWLEDGED_WITHIN, clock=self._clock
            )

    def records(self) -> Iterator[tuple[JobFolder, JobRecord]]:
        """Every job that was submitted through AI-HOW, the oldest first."""
        found = []
        for file in self._layout.jobs.glob("*/record.json"):
            with suppress(FileNotFoundError):  # taken back by its submitter meanwhile
                found.append((JobFolder(file.parent), JobRecord.from_text(file.read_text())))
        yield from sorted(found, key=lambda pair: pair[1].submitted)

    def record(self, job_id: int) -> tuple[JobFolder, JobRecord] | None:
        """The record of a job; None for one that was submitted by other means.

        An id of which a job was lost is given away again: the newest record has it.
        """
        found = [pair for pair in self.records() if pair[1].job_id == job_id]
        return found[-1] if found else None

    def list(self) -> list[Job]:
        """Every job of the cluster: from slurmctld while it remembers, from accounting after."""
        jobs = {job.id: job for job in self._slurm.history()}
        jobs.update({job.id: job for job in self._slurm.jobs()})
        for record in {record.job_id: record for _, record in self.records()}.values():
            if record.closed and is_lost(record, jobs.get(record.job_id)):
                jobs[record.job_id] = Job(record.job_id, record.name, LOST, submit=int(record.submitted))
        return [jobs[job_id] for job_id in sorted(jobs)]

    def find(self, job_id: JobId) -> Job:
        """Raises :class:`NotFound` for a job that Slurm does not know."""
        job = self._slurm.job(job_id)
        # A recipe's job is no array, so that a task has no record.
        found = self.record(job_id) if isinstance(job_id, int) else None
        if found and is_lost(found[1], job):
            raise NotFound(
                f"job {job_id} ({found[1].name}) is lost",
                where=str(found[0].path),
                cause=WHY_LOST,
                todo="Submit it again; its run is closed as failed, its files are in the folder named above.",
            )
        if job is None:
            raise NotFound(f"there is no job {job_id}", todo="`ai-how jobs list` shows all of them.")
        return job

    def cancel(self, job_id: JobId) -> None:
        """End a job. Raises :class:`UsageError` for one that has ended by itself."""
        job = self.find(job_id)
        if job.ended and not self._slurm.goes_on(job_id):
            raise UsageError(f"job {job_id} ({job.name}) has ended already, as {job.state}")
        self._slurm.cancel(job_id)

    def log(self, job: Job) -> Path:
        """Where the job's output is. Raises :class:`NotFound` for a job of other means, which Slurm logs itself."""
        found = self.record(job.id)
        if found is None:
            raise NotFound(
                f"job {job.id} was not submitted through ai-how, so its log is where its own script put it",
                todo=f"`ai-how shell -- scontrol show job {job.id}` shows StdOut.",
            )
        path = Path(found[1].log.replace("%j", str(job.id)))
        if self._far:
            self._far.bring_log(path)
        return path

    def follow(self, job_id: JobId, line: Callable[[str], None]) -> Job:
        """Hand over the job's output line by line until it has ended; returns the job as it ended."""
        path = self.log(self.find(job_id))
        position = 0
        while True:
            job = self.find(job_id)
            if self._far:
                self._far.bring_log(path)
            position = _read_on(path, position, line)
            if job.ended:
                _read_on(path, position, line)
                return job
            self._clock.sleep(FAR_POLL if self._far else POLL)

    def wait(self, record: JobRecord, *, timeout: float, on_state: Callable[[Job], None]) -> JobRecord:
        """Wait until the job has ended and its run is closed. Raises :class:`JobFailed` with its last lines."""
        last, asked, began = "", 0.0, self._clock.monotonic()
        found = self.record(record.job_id)

        def ended() -> Job | None:
            nonlocal last, asked
            now = self._clock.monotonic()
            # Asking Slurm takes time from the very job on an emulated node: seldom, the longer it runs.
            pause = min(LONGEST_PAUSE, (now - began) / 10)
            if now - asked < pause and not (found and found[0].ended.exists()):
                return None
            asked = now
            job = self.find(record.job_id)
            if job.state != last:
                last = job.state
                on_state(job)
            return job if job.ended else None

        job = wait_until(
            ended, what=f"the end of job {record.job_id}", timeout=timeout, clock=self._clock, longest=POLL
        )
        if not job.completed:
            raise self.failure(job)
        return wait_until(
            lambda: self._closed(record.job_id),
            what="the tracker's record of the job",
            timeout=60,
            clock=self._clock,
        )

    def failure(self, job: Job) -> JobFailed:
        """The error for a job that ended otherwise than by completing."""
        path = self.log(job)
        text = path.read_text(errors="replace").splitlines()[-LOG_LINES:] if path.exists() else []
        return JobFailed(
            f"job {job.id} ({job.name}) ended as {job.state}, exit code {job.exit_code}",
            where=str(path),
            cause=self._full() or job.reason or None,
            detail="\n".join(text) or None,
            todo=f"`ai-how jobs show {job.id}` shows more; its whole output is in the file named above.",
        )

    def _full(self) -> str | None:
        """A full disk, where that is why nothing could be written; a script says so in many words, or in none."""
        return None if self._far else disk.shortage(self._layout.root, below=disk.NOTHING)

    def _closed(self, job_id: int) -> JobRecord | None:
        found = self.record(job_id)
        return found[1] if found and found[1].closed else None


def is_lost(record: JobRecord, job: Job | None) -> bool:
    """Whether what Slurm says of a job's id is nothing, or no more than a trace that accounting has of it. Pure."""
    if job is None:
        return bool(record.job_id) and record.state in ("", LOST)
    return record.state == LOST and not (job.work_dir or job.ended)


def write_record(folder: JobFolder, record: JobRecord) -> None:
    """Replace a job's record whole."""
    write_whole(folder.record, record.to_text())


def _copy_recipe(file: RecipeFile, folder: JobFolder) -> None:
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(file.path.parent, folder.scripts, ignore=ignore)
    shutil.copytree(SUPPORT, folder.scripts / SUPPORT.name, ignore=ignore, dirs_exist_ok=True)


def _asked(recipe: Recipe) -> Mapping[str, object]:
    asked = recipe.resources
    return {
        "nodes": asked.nodes,
        "tasks_per_node": asked.tasks_per_node,
        "cpus_per_task": asked.cpus_per_task,
        "gpus_per_node": asked.gpus_per_node,
        "time_limit": asked.time_limit,
    }


def _read_on(path: Path, position: int, line: Callable[[str], None]) -> int:
    """Hand over the whole lines after ``position``; returns the new position."""
    if not path.exists():
        return position
    with path.open("rb") as stream:
        stream.seek(position)
        data = stream.read()
    whole = data[: data.rfind(b"\n") + 1]
    for text in whole.decode(errors="replace").splitlines():
        line(text)
    return position + len(whole)
