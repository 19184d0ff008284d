"""List, show, follow and cancel jobs.

ai-how jobs list
ai-how jobs show 12
ai-how jobs logs 12 [-f]
ai-how jobs cancel 12
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ai_how.cli.output import duration, json_argument, number, out, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.jobs.control import Jobs
    from ai_how.site import Site
    from ai_how.slurm.model import Job, JobId

#: Columns of a terminal that has room for a run's id in the list.
WIDE = 110
#: Facts of a job that are seconds since the epoch.
TIMES = ("submit", "start", "end")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|logs|cancel")
    for name in ("list", "show", "logs", "cancel"):
        verb = verbs.add_parser(name)
        if name != "list":
            verb.add_argument("job", type=_job_id, help="the job's id; 12_3 is task 3 of the array 12")
        if name == "logs":
            verb.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")
        site_arguments(verb)
        json_argument(verb)


def _job_id(text: str) -> JobId:
    """What names a job. Not by ``int`` alone, to which ``12_3`` is 123: somebody else's job."""
    if re.fullmatch(r"[1-9][0-9]*", text):
        return int(text)
    if re.fullmatch(r"[1-9][0-9]*_[0-9]+", text):
        return text
    raise argparse.ArgumentTypeError(
        f"a job has a number, and a task of an array one such as 12_3: {text!r} is neither; "
        "`ai-how shell -- scancel` takes ranges"
    )


def run(args: argparse.Namespace) -> int:
    from ai_how.site import work

    site = site_of(args)
    jobs = work.jobs_of(site)
    match args.verb:
        case "list":
            _list(args, jobs)
        case "show":
            _show(args, site, jobs)
        case "logs":
            return _logs(args, jobs)
        case "cancel":
            jobs.cancel(args.job)
            print_json({"job_id": args.job, "cancelled": True}) if args.json else out.print(
                f"job {args.job} is cancelled"
            )
    return 0


def _list(args: argparse.Namespace, jobs: Jobs) -> None:
    from rich.markup import escape
    from rich.table import Table

    runs = {record.job_id: record.run_id for _, record in jobs.records()}
    found = jobs.list()
    if args.json:
        print_json({"jobs": [{**asdict(job), "run_id": runs.get(job.id)} for job in found]})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    # Half of a run's id is of no use; `jobs show` tells it where there is no room for all of it.
    columns = ("job", "name", "state", "partition", "nodes", "elapsed", "run")
    for name in columns if out.width >= WIDE else columns[:-1]:
        table.add_column(name, overflow="fold")
    for job in found:
        title, nodes = escape(_one_line(job.name)), escape(job.nodes)
        row = (str(job.id), title, _state(job), job.partition, nodes, duration(job.elapsed))
        table.add_row(*row, *([runs.get(job.id, "")] if out.width >= WIDE else []))
    out.print(table, soft_wrap=False) if found else out.print("There are no jobs yet.")


def _state(job: Job) -> str:
    """In colour where somebody has to look: what failed or was lost."""
    from rich.markup import escape

    from ai_how.jobs.model import LOST

    if not job.ended and job.state != LOST:
        return escape(f"{job.state.lower()} ({job.reason})") if job.reason else job.state.lower()
    return job.state.lower() if job.completed or job.state == "CANCELLED" else f"[red]{job.state.lower()}[/]"


def _show(args: argparse.Namespace, site: Site, jobs: Jobs) -> None:
    from rich.markup import escape

    job = jobs.find(args.job)
    facts: dict[str, Any] = asdict(job)
    found = jobs.record(job.id)
    if found is not None:
        folder, record = found
        log = str(jobs.log(job))
        facts |= {"kind": record.kind, "run_id": record.run_id, "log": log, "folder": str(folder.path)}
        facts |= {"accounting": dict(record.accounting), "batch_script": str(folder.batch)}
        if record.model_version:
            facts["model"] = f"{record.model}:{record.model_version}"
    if args.json:
        print_json(facts)
        return
    measured = facts.pop("accounting", {})
    for key, value in {**facts, **measured}.items():
        if value not in ("", None) and not (key in TIMES and not value):
            out.print(f"[dim]{key:<22}[/]{escape(_one_line(_readable(key, value)))}")


def _one_line(text: str) -> str:
    """What Slurm lets be part of a name, and would move the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _readable(key: str, value: object) -> str:
    """A fact as people read it: moments of the clock, lengths of time, numbers without needless digits."""
    if key in TIMES and isinstance(value, int):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if key == "elapsed" and isinstance(value, int):
        return duration(value)
    return number(value) if isinstance(value, float) else str(value)


def _logs(args: argparse.Namespace, jobs: Jobs) -> int:
    job = jobs.find(args.job)
    if args.follow:
        job = jobs.follow(args.job, print)
        if not job.completed:
            raise jobs.failure(job)
        return 0
    path = jobs.log(job)
    if args.json:
        print_json(
            {
                "job_id": job.id,
                "path": str(path),
                "text": path.read_text(errors="replace") if path.exists() else "",
            }
        )
    elif path.exists():
        print(path.read_text(errors="replace"), end="")
    else:
        out.print(f"job {job.id} is {job.state.lower()} and has printed nothing yet")
    return 0
