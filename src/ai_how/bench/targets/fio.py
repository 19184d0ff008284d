"""Files and block devices, by fio: bandwidth, operations a second, latency, and in what state the cache was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ai_how.bench.histogram import Histogram
from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.targets.driven import Driven, Nothing
from ai_how.bench.targets.job import runner, scratch
from ai_how.errors import AiHowError, CommandFailed, CouldNotTell, UsageError
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Fio as Asked
from ai_how.spec.bench_workloads import size_bytes

#: Seconds that fio runs before it counts: its own ramp, cut by it.
RAMP = 1
_WAYS = ("read", "write")
#: File systems that have no storage under them.
_MEMORY = ("tmpfs", "ramfs")


def argv(asked: Asked, recipe: BenchRecipe, where: Path) -> tuple[str, ...]:
    """fio's command line. Pure. Raises :class:`UsageError` for a load that fio has no words for."""
    load = recipe.load
    words = [
        "fio", "--name=bench", f"--rw={asked.pattern}", f"--bs={asked.block}", f"--ioengine={asked.engine}",
        f"--iodepth={asked.depth}", f"--numjobs={asked.jobs}", f"--direct={int(asked.direct)}",
        "--time_based", f"--runtime={max(1, round(load.seconds))}", f"--ramp_time={RAMP}", "--group_reporting",
        "--invalidate=1", "--randrepeat=1", f"--randseed={load.seed}", "--lat_percentiles=1", "--clat_percentiles=0",
        "--output-format=json+",
    ]  # fmt: skip
    if asked.device is not None:
        words += [f"--filename={asked.device}", "--readonly"]
    else:
        words += [f"--directory={where}", f"--size={asked.size}", "--unlink=1"]
    if "rw" in asked.pattern and asked.pattern not in _WAYS:
        words.append(f"--rwmixread={asked.read_share}")
    if load.arrivals in ("poisson", "constant"):
        process = "poisson" if load.arrivals == "poisson" else "linear"
        words += [f"--rate_iops={rates(asked, load.rate or 1.0)}", f"--rate_process={process}"]
    elif load.arrivals != "closed":
        raise UsageError(
            f"fio knows no arrivals of the kind '{load.arrivals}'",
            todo="It knows closed, constant and poisson.",
        )
    if asked.steady is not None:
        words += [f"--steadystate=iops_slope:{asked.steady:g}%", "--steadystate_duration=5"]
    return tuple(words)


def rates(asked: Asked, rate: float) -> str:
    """The rate of one job, as fio takes it: where it reads and writes, of both a rate of its own. Pure."""
    share = asked.read_share / 100 if asked.pattern in ("rw", "randrw") else 1.0
    parts = (share, 1 - share) if 0 < share < 1 else (1.0,)
    return ",".join(str(max(1, round(rate * part / asked.jobs))) for part in parts)


def parse(text: str, asked: Asked, rate: float | None = None) -> Measured:
    """fio's JSON as figures; ``rate`` is what it was to keep. Pure. Raises :class:`CouldNotTell` for what is none."""
    try:
        # Warnings stand before the JSON.
        facts = json.loads(text[text.index("{\n") :])
        (job,) = facts["jobs"]
        ways = {way: job[way] for way in _WAYS if job[way]["total_ios"]}
        done = {way: _of_way(one) for way, one in ways.items()}
        seconds = max(one["runtime"] for one in ways.values()) / 1e3
        errors = {f"error {job['error']}": 1} if job["error"] else {}
        steady = _steady(job)
    except (ValueError, KeyError, TypeError) as error:
        raise CouldNotTell(
            "fio's answer is not what it should be", cause=repr(error), detail=text[-500:]
        ) from error
    total = sum(one["total_ios"] for one in ways.values())
    past = past_cache(asked)
    return Measured(
        seconds=seconds,
        histograms={f"{way}_latency": histogram for way, (histogram, _) in done.items()},
        values={f"{way}_{name}": value for way, (_, values) in done.items() for name, value in values.items()},
        sent=total,
        good=total,
        errors=errors,
        achieved=sum(one["iops"] for one in ways.values()) / rate if rate else None,
        steady=steady[0],
        steady_why=steady[1],
        cache="none" if past else "unknown",
        reasons=() if past else ("not direct I/O: the page cache is part of what was measured",),
        notes={"fio": facts["fio version"], "cpu_user": job["usr_cpu"], "cpu_system": job["sys_cpu"],
               "disks": facts.get("disk_util", [])},
    )  # fmt: skip


def past_cache(asked: Asked) -> bool:
    """Whether it goes past the page cache: a file that is mapped into memory is in it, whatever was asked for. Pure."""
    return asked.direct and asked.engine != "mmap"


def _of_way(facts: Mapping[str, Any]) -> tuple[Histogram, dict[str, Value]]:
    histogram = Histogram()
    for nanoseconds, count in facts["lat_ns"]["bins"].items():
        if count:
            histogram.record(int(nanoseconds), count)
    values = {
        "operations": Value(value=facts["iops"], unit="1/s"),
        "bandwidth": Value(value=facts["bw_bytes"] / 2**20, unit="MiB/s"),
    }
    return histogram, values


def _steady(job: Mapping[str, Any]) -> tuple[bool | None, str]:
    found = job.get("steadystate")
    if not found:
        return None, ""
    reached = bool(found["attained"])
    word = "reached" if reached else "not reached"
    return reached, f"fio's steady state ({found['ss']}) was {word}: {found['criterion']}"


class Storage:
    """A file system or a device."""

    api = "fio"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing:
        asked = recipe.workload.fio or Asked()
        if asked.device is not None:
            # The file system that its name lies on is not what is measured.
            return Nothing({"where": asked.device})
        where = asked.folder or str(place.share if recipe.target.job else place.folder)
        return Nothing({"where": where, **file_system(Path(where))})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """One run of fio. Raises :class:`CouldNotTell` where it refuses, with what it said."""
    asked = recipe.workload.fio or Asked()
    with working_folder(asked.folder, recipe, place) as folder:
        command = Command(argv(asked, recipe, folder), cwd=Path("/"), timeout=recipe.load.seconds + 600)
        try:
            ran = runner(place, recipe.target.job, recipe.name)(command)
        except CommandFailed as error:
            raise refused(error, asked) from error
        memory = in_memory(folder) if asked.device is None and recipe.target.job is None else ()
    closed = recipe.load.arrivals == "closed"
    found = parse(ran.done.stdout, asked, None if closed else recipe.load.rate)
    notes = {**found.notes, "job": ran.job, "node": ran.node, "command": command.paste(), **_memory(asked)}
    return Measured(**{**vars(found), "notes": notes, "reasons": (*found.reasons, *memory)})


def refused(error: CommandFailed, asked: Asked) -> AiHowError:
    """Why fio would not: the usual cause said in words. Pure."""
    said = error.detail or ""
    if asked.direct and ("O_DIRECT" in said or "Invalid argument" in said):
        return CouldNotTell(
            "this file system takes no direct I/O",
            where=error.where,
            todo="Measure another folder, or write `direct: false`: the page cache is measured too then.",
            detail=error.detail,
        )
    return error


@contextmanager
def working_folder(wanted: str | None, recipe: BenchRecipe, place: Place) -> Iterator[Path]:
    """The folder to work in: a new one inside the one that the recipe names, or in the scratch; gone afterwards."""
    if wanted is None:
        yield from scratch(place, recipe.target.job)
        return
    if recipe.target.job is None and not Path(wanted).is_dir():
        raise UsageError(f"there is no folder {wanted}", todo="Make it, or name another one.")
    inside = Place(place.gate, Path(wanted), share=Path(wanted))
    yield from scratch(inside, recipe.target.job)


def file_system(path: Path) -> dict[str, Any]:
    """The mount that a path is on, as this machine sees it: what a figure of storage must not be without."""
    best: tuple[str, str, str] | None = None
    try:
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            source, point, kind, *_ = line.split(" ")
            inside = path == Path(point) or Path(point) in path.parents
            if inside and (best is None or len(point) >= len(best[1])):
                best = (source, point, kind)
    except OSError:
        return {}
    return {"file_system": best[2], "mount": best[1], "source": best[0]} if best else {}


def in_memory(path: Path) -> tuple[str, ...]:
    """What there is against storage that is none: newer kernels take direct I/O there, and drop nothing of it."""
    kind = file_system(path.resolve()).get("file_system", "")
    return (f"a file system in memory ({kind}): no storage was measured",) if kind in _MEMORY else ()


def _memory(asked: Asked) -> dict[str, Any]:
    """How the file stands to this machine's memory: what fits into it may have been answered from there."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"size_of_memory": round(size_bytes(asked.size) * asked.jobs / memory, 4), "direct": asked.direct}


TARGET = Storage()
