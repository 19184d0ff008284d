"""Slurm's answers as typed facts. Pure; recorded answers of several versions are the tests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ai_how.errors import CouldNotTell
from ai_how.slurm.model import Accounting, Job, Life, NodeState, Offer

SACCT_FIELDS = (
    "JobIDRaw", "JobName", "State", "ExitCode", "User", "Partition", "NodeList", "ElapsedRaw", "Timelimit",
    "Submit", "Start", "End",
)  # fmt: skip
#: Id, uid, state, submission, start (also the expected one), end, limit, partition, nodes, folder, reason, name.
SQUEUE_FORMAT = "%i|%U|%T|%V|%S|%e|%l|%P|%N|%Z|%r|%j"
ACCOUNTING_FIELDS = (
    "JobIDRaw", "State", "ExitCode", "ElapsedRaw", "TotalCPU", "MaxRSS", "AllocTRES", "NodeList",
)  # fmt: skip

LIFE_FIELDS = ("JobIDRaw", "Start", "End", "AllocTRES")


#: For somebody else's cluster: id, uid, user, state, reason, partition, nodes, elapsed, limit, submission, start, end,
#: folder; the name at last, which may hold anything.
OWN_FORMAT = "%A|%U|%u|%T|%r|%P|%N|%M|%l|%V|%S|%e|%Z|%j"


def fields(line: str) -> dict[str, str]:
    """``Key=value`` pairs of one ``scontrol --oneliner`` line; a value may hold spaces and equals signs."""
    keys = list(re.finditer(r"(?:^|\s)([A-Za-z][A-Za-z0-9:_/]*)=", line))
    found: dict[str, str] = {}
    for here, after in zip(keys, [*keys[1:], None], strict=True):
        end = after.start() if after else len(line)
        found.setdefault(here.group(1), line[here.end() : end].strip())
    return found


#: One job of ``scontrol --oneliner``. Its name may hold anything: a key, an equals sign, a line's end.
_JOB = re.compile(
    r"^(?P<ids>JobId=\d+ (?:\w+=\S+ )*?)JobName=(?P<name>.*?) (?P<rest>UserId=\S+\(\d+\) GroupId=.*)$",
    re.MULTILINE | re.DOTALL,
)
_NEXT_JOB = re.compile(r"\n(?=JobId=\d+ )")


def scontrol_jobs(text: str) -> Iterator[Job]:
    """The jobs in the answer of ``scontrol --oneliner show job``."""
    for record in _NEXT_JOB.split(text):
        found = _JOB.search(record)
        if found is None:
            continue
        facts = fields(f"{found['ids']}{found['rest']}")
        yield Job(
            id=int(facts["JobId"]),
            name=found["name"],
            state=facts["JobState"],
            reason="" if facts.get("Reason") in (None, "None") else facts["Reason"],
            user=facts.get("UserId", "").split("(")[0],
            partition=facts.get("Partition", ""),
            nodes=_null(facts.get("NodeList", "")),
            exit_code=facts.get("ExitCode", ""),
            elapsed=duration(facts.get("RunTime", "0")),
            time_limit=facts.get("TimeLimit", ""),
            submit=moment(facts.get("SubmitTime", "")),
            start=moment(facts.get("StartTime", "")),
            end=moment(facts.get("EndTime", "")),
            restarts=int(facts.get("Restarts", "0")),
            work_dir=facts.get("WorkDir", ""),
            uid=_number(facts.get("UserId", "").partition("(")[2].rstrip(")")),
        )


def squeue_jobs(text: str) -> Iterator[Job]:
    """The jobs in the answer of ``squeue --noheader`` with ``SQUEUE_FORMAT``."""
    for line in text.splitlines():
        words = line.strip().split("|", 11)
        if len(words) != 12 or not words[0].isdigit():
            continue  # a task of an array, or a message among the lines
        number, uid, state, submit, start, end, limit, partition, nodes, folder, reason, name = words
        yield Job(
            id=int(number),
            name=name,
            state=state,
            reason="" if reason == "None" else reason,
            partition=partition,
            nodes=_null(nodes),
            time_limit=limit,
            submit=moment(submit),
            start=moment(start),
            end=moment(end),
            work_dir=folder,
            uid=_number(uid),
        )


def own_jobs(text: str) -> Iterator[Job]:
    """The jobs in the answer of ``squeue --noheader --format`` with :data:`OWN_FORMAT`, with who they are of.

    It tells neither exit codes nor restarts; ``start`` of a job that waits is when Slurm expects it.
    """
    for line in text.splitlines():
        words = line.split("|", 13)
        if len(words) != 14 or not words[0].isdigit():
            continue  # a message among the lines
        (
            number,
            uid,
            user,
            state,
            reason,
            partition,
            nodes,
            elapsed,
            limit,
            submit,
            start,
            end,
            place,
            name,
        ) = words
        yield Job(
            id=int(number),
            name=name,
            state=state,
            reason="" if reason == "None" else reason,
            user=user,
            partition=partition,
            nodes=nodes,
            elapsed=int(cpu_time(elapsed)) if elapsed[:1].isdigit() else 0,
            time_limit=limit,
            submit=moment(submit),
            start=moment(start),
            end=moment(end),
            work_dir=place,
            uid=_number(uid),
        )


def sacct_jobs(text: str) -> Iterator[Job]:
    """The jobs (not their steps) in the answer of ``sacct --parsable2 --noheader`` with ``SACCT_FIELDS``."""
    held = ""
    for line in text.split("\n"):
        held = f"{held}\n{line}" if held else line
        if held.count("|") < len(SACCT_FIELDS) - 1:
            continue  # a name may hold a line's end
        number, *words = held.split("|")
        held = ""
        if not number.isdigit():
            continue
        # All that comes after the name is Slurm's own, so that a bar too many is the name's.
        after = len(SACCT_FIELDS) - 2
        facts = dict(zip(SACCT_FIELDS[2:], words[-after:], strict=True))
        yield Job(
            id=int(number),
            name="|".join(words[:-after]),
            state=facts["State"].split()[0],
            user=facts["User"],
            partition=facts["Partition"],
            nodes="" if facts["NodeList"] == "None assigned" else facts["NodeList"],
            exit_code=facts["ExitCode"],
            elapsed=int(facts["ElapsedRaw"] or 0),
            time_limit=facts["Timelimit"],
            submit=moment(facts["Submit"]),
            start=moment(facts["Start"]),
            end=moment(facts["End"]),
        )


def accounting(text: str) -> Mapping[int, Accounting]:
    """Accounting by job from ``sacct --duplicates`` with ``ACCOUNTING_FIELDS``.

    A job that was requeued has an entry for each of its lives, the oldest first: times are added up, memory is the
    largest of all steps, everything else is the last life's.
    """
    jobs: dict[int, Accounting] = {}
    memory: dict[int, int] = {}
    for line in text.splitlines():
        facts = dict(zip(ACCOUNTING_FIELDS, line.split("|"), strict=True))
        job_id = int(facts["JobIDRaw"].split(".")[0].split("_")[0])
        memory[job_id] = max(memory.get(job_id, 0), size(facts["MaxRSS"]))
        if facts["JobIDRaw"].isdigit():
            before = jobs.get(job_id)
            jobs[job_id] = Accounting(
                job_id=job_id,
                state=facts["State"].split()[0],
                exit_code=facts["ExitCode"],
                elapsed_seconds=int(facts["ElapsedRaw"] or 0) + (before.elapsed_seconds if before else 0),
                cpu_seconds=cpu_time(facts["TotalCPU"]) + (before.cpu_seconds if before else 0.0),
                max_rss_bytes=0,
                allocated=dict(pair.split("=", 1) for pair in facts["AllocTRES"].split(",") if "=" in pair),
                nodes=facts["NodeList"],
            )
    return {job_id: replace(entry, max_rss_bytes=memory[job_id]) for job_id, entry in jobs.items()}


def lives(text: str) -> Iterator[Life]:
    """The runs of jobs from ``sacct --duplicates --allocations`` with ``LIFE_FIELDS``; those that never began are left
    out."""
    for line in text.splitlines():
        facts = dict(zip(LIFE_FIELDS, line.split("|"), strict=True))
        start = moment(facts["Start"])
        if not facts["JobIDRaw"].isdigit() or not start:
            continue
        held = dict(pair.split("=", 1) for pair in facts["AllocTRES"].split(",") if "=" in pair)
        typed = sum(int(count) for name, count in held.items() if name.startswith("gres/gpu:"))
        yield Life(
            job_id=int(facts["JobIDRaw"]),
            start=start,
            end=moment(facts["End"]),
            cpus=int(held.get("cpu", "0")),
            gpus=int(held.get("gres/gpu", typed)),
        )


def nodes(text: str) -> Iterator[NodeState]:
    """The nodes in the answer of ``scontrol --oneliner show node``."""
    for line in text.splitlines():
        if not line.startswith("NodeName="):
            continue
        facts = fields(line)
        words = re.sub(r"[*~#$@%^!-]", "", facts["State"]).split("+")
        flags = set(words[1:])
        if "*" in facts["State"]:
            flags.add("NOT_RESPONDING")
        yield NodeState(facts["NodeName"], words[0], frozenset(flags), facts.get("Reason", ""))


#: What :func:`offers` reads: ``sinfo --Node`` with a line for each node and partition.
OFFERS_FORMAT = "%P|%N|%c|%m|%G"


def offers(text: str) -> Iterator[Offer]:
    """The nodes by partition, in the answer of ``sinfo --Node`` in :data:`OFFERS_FORMAT`."""
    for line in text.splitlines():
        words = line.split("|")
        if len(words) != 5 or not words[2].isdigit():
            continue
        partition, node, cpus, memory, gres = words
        yield Offer(
            partition.rstrip("*"), partition.endswith("*"), node.strip(), int(cpus),
            int(memory.rstrip("+")), gpus(gres),
        )  # fmt: skip


def gpus(text: str) -> dict[str, int]:
    """GPUs by type in Slurm's list of GRES, such as ``gpu:a100:4(S:0-1),gpu:2,lustre:1``."""
    found: dict[str, int] = {}
    for kind, count in re.findall(r"(?:^|,)gpu:(?:([^:,(]*[^:,(\d][^:,(]*):)?(\d+)", text):
        found[kind] = found.get(kind, 0) + int(count)
    return found


def submitted(text: str) -> int:
    """The job id from ``sbatch --parsable``. Raises :class:`CouldNotTell`."""
    match = re.match(r"^(\d+)(;.*)?$", text.strip())
    if match is None:
        raise CouldNotTell(f"sbatch answered without a job id: {text.strip()!r}")
    return int(match.group(1))


def expand(hostlist: str) -> Iterator[str]:
    """The names in Slurm's short form: ``node[01-03,07],login`` gives five."""
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\])?", hostlist):
        match = re.match(r"^(.*)\[(.*)\]$", part)
        if match is None:
            yield part
            continue
        for span in match.group(2).split(","):
            first, _, last = span.partition("-")
            for number in range(int(first), int(last or first) + 1):
                yield f"{match.group(1)}{number:0{len(first)}d}"


def moment(text: str) -> int:
    """Seconds since the epoch for Slurm's local time stamp, or for such seconds; 0 when it does not know."""
    if text.isdigit():
        return int(text)
    try:
        return int(time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0


def duration(text: str) -> int:
    """Seconds for ``[D-]HH:MM:SS``; 0 for UNLIMITED and for what is no duration."""
    match = re.match(r"^(?:(\d+)-)?(\d+):(\d+):(\d+)$", text)
    if match is None:
        return 0
    days, hours, minutes, secs = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + secs


def cpu_time(text: str) -> float:
    """Seconds for sacct's ``[D-[HH:]]MM:SS[.mmm]``."""
    if not text:
        return 0.0
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + 86400 * int(days or 0)


def size(text: str) -> int:
    """Bytes for sacct's ``1234K``, ``12.5M``, ``1G``; 0 for nothing."""
    match = re.match(r"^([\d.]+)([KMGT]?)$", text)
    if match is None:
        return 0
    return int(float(match.group(1)) * 1024 ** " KMGT".index(match.group(2) or " "))


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _null(text: str) -> str:
    return "" if text in ("(null)", "None") else text
