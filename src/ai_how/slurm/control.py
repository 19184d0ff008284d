"""Slurm's own commands, called through the gate with the site's environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_how.errors import CommandFailed, CouldNotTell
from ai_how.run import Command, Completed, Gate
from ai_how.slurm import parse
from ai_how.slurm.model import Accounting, Job, JobId, Life, NodeState, Offer

# Jobs in one question: an argument list has an end.
_AT_ONCE = 1000


class Slurm:
    """One Slurm cluster as its user sees it. ``env`` holds SLURM_CONF and whatever its programs need to run.

    ``programs`` maps a command's name to its path; a name that is not in it is looked up on PATH.
    """

    def __init__(self, gate: Gate, env: Mapping[str, str], programs: Mapping[str, Path]) -> None:
        self._gate = gate
        self._env = env
        self._programs = programs

    @property
    def env(self) -> Mapping[str, str]:
        """What its programs need in their environment."""
        return self._env

    def submit(self, script_text: str, name: str, cwd: Path) -> int:
        """Hand a batch script to sbatch; returns the job id. Raises :class:`CommandFailed`."""
        answer = self._call("sbatch", "--parsable", f"--job-name={name}", cwd=cwd, stdin=script_text)
        return parse.submitted(answer.stdout)

    def cancel(self, job_id: JobId, *, signal: str | None = None) -> None:
        words = [f"--signal={signal}"] if signal else []
        self._call("scancel", *words, str(job_id))

    def cancel_named(self, name: str) -> None:
        """Cancel every job of that name that waits or runs; none is no mistake."""
        self._call("scancel", f"--name={name}")

    def waiting_or_running(self, name: str) -> int:
        """How many records squeue has of that name; an array that waits as a whole is one."""
        return len(self._call("squeue", "--noheader", "--format=%i", f"--name={name}").stdout.split())

    def goes_on(self, job_id: JobId) -> bool:
        """Whether something of it waits or runs: any task of an array, whatever became of the others."""
        asked = self._call("squeue", "--noheader", "--format=%i", f"--jobs={job_id}", check=False)
        return bool(asked.stdout.split())

    def requeue(self, job_id: int) -> bool:
        """Put a running job back into the queue; false when Slurm says that it cannot be."""
        return self._call("scontrol", "requeue", str(job_id), check=False).ok

    def jobs(self) -> list[Job]:
        """The jobs that slurmctld holds now: pending, running and recently ended."""
        return list(parse.scontrol_jobs(self._call("scontrol", "--oneliner", "show", "job").stdout))

    def live_jobs(self) -> list[Job]:
        """Our own jobs that wait, run or end right now; ``start`` of one that waits is when Slurm expects it to."""
        # In seconds since the epoch, so that the other machine's time zone does not matter.
        env = {"SLURM_TIME_FORMAT": "%s"}
        answer = self._call("squeue", "--me", "--noheader", f"--format={parse.SQUEUE_FORMAT}", env=env)
        return list(parse.squeue_jobs(answer.stdout))

    def drained_nodes(self) -> list[str]:
        """The nodes that are to be emptied: drained, failing, or reserved for maintenance."""
        answer = self._call("sinfo", "--noheader", "--Node", "--states=drain,fail,maint", "--format=%N")
        return sorted(set(answer.stdout.split()))

    def job(self, job_id: JobId) -> Job | None:
        """One job, from slurmctld or, when it has forgotten it, from accounting."""
        answer = self._call("scontrol", "--oneliner", "show", "job", str(job_id), check=False)
        if answer.ok:
            return next(parse.scontrol_jobs(answer.stdout), None)
        if "Invalid job id" not in answer.stderr:
            raise CouldNotTell(f"slurmctld did not say how job {job_id} is", detail=answer.tail())
        return next(iter(self.history(job_id)), None)

    def history(self, job_id: JobId | None = None) -> list[Job]:
        """Jobs from accounting, oldest first; all of the cluster's when no id is given."""
        chosen = [f"--jobs={job_id}"] if job_id else ["--starttime=1970-01-02", "--allusers"]
        answer = self._call(
            "sacct",
            "--parsable2",
            "--noheader",
            "--allocations",
            f"--format={','.join(parse.SACCT_FIELDS)}",
            *chosen,
        )
        return list(parse.sacct_jobs(answer.stdout))

    def accounting(self, job_ids: Sequence[int]) -> Mapping[int, Accounting]:
        """What slurmdbd keeps of these jobs, all their lives together."""
        answer = self._call(
            "sacct", "--duplicates", "--parsable2", "--noheader", f"--format={','.join(parse.ACCOUNTING_FIELDS)}",
            f"--jobs={','.join(map(str, job_ids))}",
        )  # fmt: skip
        return parse.accounting(answer.stdout)

    def lives(self, job_ids: Sequence[int]) -> list[Life]:
        """When these jobs ran and what they held, by slurmdbd; a job that it does not know has none."""
        found: list[Life] = []
        for start in range(0, len(job_ids), _AT_ONCE):
            chosen = ",".join(map(str, job_ids[start : start + _AT_ONCE]))
            answer = self._call(
                "sacct", "--duplicates", "--allocations", "--parsable2", "--noheader",
                f"--format={','.join(parse.LIFE_FIELDS)}", f"--jobs={chosen}",
            )  # fmt: skip
            found.extend(parse.lives(answer.stdout))
        return found

    def nodes(self) -> list[NodeState]:
        """Every node of slurm.conf as slurmctld sees it."""
        return list(parse.nodes(self._call("scontrol", "--oneliner", "show", "node").stdout))

    def offers(self) -> list[Offer]:
        """What each node gives to the jobs of each partition that we may see."""
        return list(
            parse.offers(
                self._call("sinfo", "--noheader", "--Node", f"--format={parse.OFFERS_FORMAT}").stdout
            )
        )

    def drain(self, names: str, reason: str) -> None:
        """Let running jobs end on these nodes (a hostlist) and start none there."""
        self._call("scontrol", "update", f"NodeName={names}", "State=DRAIN", f"Reason={reason}")

    def resume(self, names: str) -> None:
        self._call("scontrol", "update", f"NodeName={names}", "State=RESUME")

    def reconfigure(self) -> None:
        """Every daemon reads its configuration again."""
        self._call("scontrol", "reconfigure")

    def alive(self) -> bool:
        """Whether slurmctld answers."""
        return " is UP" in self._call("scontrol", "ping", check=False).stdout

    def _call(
        self,
        program: str,
        *words: str,
        check: bool = True,
        cwd: Path | None = None,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        path = str(self._programs.get(program, program))
        command = Command((path, *words), env={**self._env, **(env or {})}, cwd=cwd, stdin=stdin, timeout=60)
        try:
            return self._gate.run(command, check=check)
        except CommandFailed as error:
            detail = (error.detail or "").replace(f"{program}: error: ", "")
            raise CommandFailed(f"{program} refused: {detail.splitlines()[0] if detail else error.message}",
                                where=error.where, detail=error.detail, todo=_todo(detail)) from error  # fmt: skip


#: What Slurm's commands say where they find no cluster.
_NO_CLUSTER = ("configuration source", "DNS SRV", "No such file or directory: /etc/slurm", "slurm.conf")


def _todo(said: str) -> str | None:
    """What to do about the refusals that are none of the request's. Pure."""
    if any(words in said for words in _NO_CLUSTER):
        return "Slurm's commands find no cluster on this machine: set SLURM_CONF, or type on a login node of one."
    return None
