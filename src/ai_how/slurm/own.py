"""Slurm of somebody else's, as one of its users: own jobs alone, asked seldom, submitted as the centre wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import AiHowError, CommandFailed
from ai_how.run import Clock, Gate
from ai_how.slurm import facts, parse
from ai_how.slurm.batch import sbatch_option
from ai_how.slurm.control import Slurm
from ai_how.slurm.model import Accounting, Job, JobId
from ai_how.slurm.modules import loading

#: Times as seconds since the epoch: the far side may live in another time zone (squeue(1), SLURM_TIME_FORMAT).
EPOCH_TIMES = {"SLURM_TIME_FORMAT": "%s"}
_NO_ACCOUNTING = "accounting storage is disabled"


@dataclass(frozen=True)
class Habits:
    """What every job is submitted with, unless its script says otherwise: options of sbatch, modules to load.

    An option without a value is a flag.
    """

    options: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()


class OwnSlurm(Slurm):
    """A cluster that exists. ``poll`` is how many seconds an answer about our jobs is good for, ``conf`` SLURM_CONF."""

    def __init__(
        self,
        gate: Gate,
        programs: Mapping[str, Path],
        habits: Habits,
        clock: Clock,
        *,
        poll: float = 5.0,
        conf: Path | None = None,
    ) -> None:
        super().__init__(gate, {**EPOCH_TIMES, **({"SLURM_CONF": str(conf)} if conf else {})}, programs)
        self._habits = habits
        self._clock = clock
        self._poll = poll
        self._seen: tuple[float, list[Job]] | None = None

    def submit(self, script_text: str, name: str, cwd: Path) -> int:
        self._seen = None
        return super().submit(habitual(script_text, self._habits), name, cwd)

    def cancel(self, job_id: JobId, *, signal: str | None = None) -> None:
        self._seen = None
        super().cancel(job_id, signal=signal)

    def jobs(self) -> list[Job]:
        """Our own jobs that slurmctld holds now, as they were ``poll`` seconds ago at the most."""
        now = self._clock.monotonic()
        if self._seen is None or now - self._seen[0] >= self._poll:
            answer = self._call(
                "squeue", "--me", "--noheader", "--states=all", f"--format={parse.OWN_FORMAT}"
            )
            self._seen = now, list(parse.own_jobs(answer.stdout))
        return self._seen[1]

    def live_jobs(self) -> list[Job]:
        """Those of them that wait, run or end right now; ``start`` of one that waits is when Slurm expects it to."""
        return [job for job in self.jobs() if not job.ended]

    def history(self, job_id: JobId | None = None) -> list[Job]:
        """Our own jobs of the last thirty days; none where the cluster keeps no accounting."""
        chosen = [f"--jobs={job_id}"] if job_id else ["--starttime=now-30days"]
        answer = self._accounting_of("--allocations", f"--format={','.join(parse.SACCT_FIELDS)}", *chosen)
        return list(parse.sacct_jobs(answer))

    def accounting(self, job_ids: Sequence[int]) -> Mapping[int, Accounting]:
        format_ = f"--format={','.join(parse.ACCOUNTING_FIELDS)}"
        answer = self._accounting_of("--duplicates", format_, f"--jobs={','.join(map(str, job_ids))}")
        return parse.accounting(answer)

    def _accounting_of(self, *words: str) -> str:
        try:
            return self._call("sacct", "--parsable2", "--noheader", *words).stdout
        except CommandFailed as error:
            if _NO_ACCOUNTING in (error.detail or ""):
                return ""
            raise

    def may_submit(self) -> str:
        """Why Slurm would not take a job as the file has it; empty when it would. Nothing is submitted."""
        script = habitual("#!/bin/sh\ntrue\n", self._habits)
        done = self._call("sbatch", "--test-only", "--time=1", check=False, stdin=script)
        if done.ok:
            return ""
        said = [line.replace("sbatch: error: ", "") for line in done.tail().splitlines()]
        if not said:
            return f"sbatch ended with exit status {done.returncode}"
        return said[-1].removeprefix("allocation failure: ")

    def discover(self) -> facts.ClusterFacts:
        """What the cluster tells of itself. Raises what says why Slurm does not answer."""
        partitions = self._call("scontrol", "--oneliner", "show", "partition").stdout
        kinds = self._call("sinfo", "--exact", "--noheader", f"--format={facts.SINFO_FORMAT}").stdout
        user = self._call("id", "-un").stdout.strip()
        return facts.ClusterFacts(
            name=facts.cluster_name(self._call("scontrol", "show", "config").stdout),
            version=facts.version(self._call("sinfo", "--version").stdout),
            user=user,
            partitions=tuple(facts.partitions(partitions)),
            kinds=tuple(facts.kinds(kinds)),
            associations=self._associations(user),
        )

    def _associations(self, user: str) -> tuple[facts.Association, ...] | None:
        words = ("--parsable2", "--noheader", "show", "associations", f"user={user}")
        try:
            answer = self._call("sacctmgr", *words, f"format={','.join(facts.ASSOCIATION_FIELDS)}")
        except AiHowError:
            return None
        return tuple(facts.associations(answer.stdout))


def habitual(script: str, habits: Habits) -> str:
    """The script with what every job there has. Pure.

    Slurm goes by the last of several lines for one option, so that what the script says counts. Modules are loaded
    before its first command.
    """
    lines = script.split("\n")
    end = 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith("#")):
        end += 1
    options = [sbatch_option(name, value) if value else f"#SBATCH --{name}" for name, value in habits.options]
    return "\n".join([lines[0], *options, *lines[1:end], *loading(habits.modules), *lines[end:]])
