"""A gate whose programs run as Slurm jobs: what is measured is a node of the cluster, and nobody's login node."""

from __future__ import annotations

import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ai_how.bench.interfaces import Place
from ai_how.errors import CommandFailed, CouldNotTell, UsageError
from ai_how.run import Command, Completed, undisturbed, wait_until, write_whole
from ai_how.slurm.batch import sbatch_option
from ai_how.slurm.control import Slurm
from ai_how.slurm.model import Job
from ai_how.spec.recipe import Resources

#: Seconds between two questions to Slurm about a job, at most; jobs wait for as long as the queue wants.
_LONGEST = 0.5
_PATIENCE = 24 * 3600.0
_DISPOSITION = "umask 077"


@dataclass(frozen=True)
class Ran:
    """A program that has run: what it said, and where. ``node`` is empty here, without Slurm."""

    done: Completed
    job: int | None = None
    node: str = ""


def script(command: Command, folder: Path, asked: Resources) -> str:
    """The batch script that runs a program and leaves its output, its errors and its status in ``folder``. Pure.

    The program's environment is in a file of its owner's alone, and not in the script, which Slurm keeps and shows.
    """
    options = {
        "nodes": asked.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": asked.cpus_per_task * asked.tasks_per_node,
        "mem": asked.memory,
        "gres": asked.gres,
        "time": asked.time_limit,
        "partition": asked.partition,
        "chdir": str(command.cwd or folder),
        "output": str(folder / "slurm.log"),
    }
    here = shlex.quote(str(folder))
    lines = [sbatch_option(name, str(value)) for name, value in options.items() if value is not None]
    return "\n".join(
        ["#!/bin/bash", *lines, "#SBATCH --no-requeue", _DISPOSITION,
         f"set -a; . {here}/env; set +a",
         f"{shlex.join(command.argv)} <{here}/in >{here}/out 2>{here}/err",
         f"echo $? >{here}/rc.part; mv {here}/rc.part {here}/rc", ""]
    )  # fmt: skip


def environment(command: Command) -> str:
    """The program's variables, for a shell to read. Pure."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in command.env.items())


class SlurmGate:
    """Runs programs as jobs. ``share`` is a folder that every node sees."""

    def __init__(self, slurm: Slurm, share: Path, asked: Resources, name: str) -> None:
        self._slurm, self._share, self._asked, self._name = slurm, share, asked, name

    def run(self, command: Command, *, check: bool = True) -> Ran:
        """Submit, wait until it has ended, and hand over what it said. What ends the waiting cancels the job.

        Raises :class:`CommandFailed` for a status other than 0 with ``check``, and for a job that Slurm ended.
        """
        folder = self._share / f"bench-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700, parents=True)
        job_id: int | None = None
        try:
            write_whole(folder / "env", environment(command))
            write_whole(folder / "in", command.stdin or "")
            with undisturbed():  # a job whose number nobody has learnt is one that nobody cancels
                job_id = self._slurm.submit(script(command, folder, self._asked), self._name, folder)
            ran = self._ran(command, folder, self._ended(job_id, folder))
        except BaseException:
            if job_id is not None:
                with undisturbed():
                    self._slurm.cancel(job_id)
            raise
        finally:
            # Its environment is in there, and with it what is secret.
            with undisturbed():
                shutil.rmtree(folder, ignore_errors=True)
        if check and not ran.done.ok:
            raise CommandFailed(
                f"{Path(command.argv[0]).name} ended with exit status {ran.done.returncode} in job {job_id}",
                where=command.paste(),
                detail=ran.done.tail() or None,
            )
        return ran

    def _ended(self, job_id: int, folder: Path) -> Job:
        def probe() -> Job | None:
            # The file is looked for first: asking Slurm takes time from the very job on an emulated node.
            if not (folder / "rc").exists() and not (self._gone(job_id)):
                return None
            job = self._slurm.job(job_id)
            return job if job is not None and job.ended else None

        return wait_until(probe, what=f"the end of job {job_id}", timeout=_PATIENCE, longest=_LONGEST)

    def _gone(self, job_id: int) -> bool:
        job = self._slurm.job(job_id)
        if job is None:
            raise CouldNotTell(f"Slurm does not know job {job_id} any more")
        return job.ended

    def _ran(self, command: Command, folder: Path, job: Job) -> Ran:
        if not (folder / "rc").exists():
            log = folder / "slurm.log"
            raise CommandFailed(
                f"job {job.id} ended as {job.state}, exit code {job.exit_code}",
                where=command.paste(),
                cause=job.reason or None,
                detail=log.read_text(errors="replace")[-2000:] or None if log.exists() else None,
            )
        said, complained = (
            (folder / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err")
        )
        status = int((folder / "rc").read_text())
        return Ran(Completed(command, status, said, complained, float(job.elapsed)), job.id, job.nodes)


Runner = Callable[[Command], Ran]


def runner(place: Place, asked: Resources | None, name: str) -> Runner:
    """Runs programs in Slurm jobs of those resources, or here when the recipe asks for no job.

    Raises :class:`UsageError` when a job is asked for and there is no cluster.
    """
    if asked is None:
        return lambda command: Ran(place.gate.run(command))
    if place.slurm is None or place.share is None:
        raise UsageError(
            "the recipe asks for a job, and there is no cluster here",
            todo="Bring a site up (`ai-how up`), or leave `target.job` out: it is measured on this machine then.",
        )
    gate = SlurmGate(place.slurm, place.share, asked, f"bench-{name}")
    return gate.run


def scratch(place: Place, asked: Resources | None) -> Iterator[Path]:
    """A folder that whoever runs the program sees; removed afterwards."""
    above = place.folder if asked is None else place.share or place.folder
    folder = above / f"scratch-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        with undisturbed():
            shutil.rmtree(folder, ignore_errors=True)
