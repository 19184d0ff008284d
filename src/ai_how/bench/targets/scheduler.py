"""Slurm itself: how fast jobs go in, start and go away, while so many others wait in the queue.

What is measured is the cluster that the site has, or an emulated one with more nodes than any workstation has.
"""

from __future__ import annotations

import secrets
import shlex
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Value
from ai_how.bench.priority import as_everybody
from ai_how.bench.targets.driven import Driven, Nothing, seconds_histogram
from ai_how.bench.targets.emulated import Emulated
from ai_how.bench.targets.fio import working_folder
from ai_how.errors import CommandFailed, TimedOut, UsageError
from ai_how.run import undisturbed, wait_until
from ai_how.slurm.control import Slurm
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Scheduler as Asked

#: Tasks of one array: below the limit that Slurm has by default.
_ARRAY = 1000
#: Seconds that jobs may take to start, or to be gone.
_PATIENCE = 600.0


class Scheduling:
    """The scheduler of the site, or of an emulated cluster that this brings up."""

    api = "scheduler"

    def service(self, recipe: BenchRecipe, place: Place) -> Nothing | Emulated:
        asked = recipe.workload.scheduler or Asked()
        if asked.emulated_nodes:
            return Emulated(asked.emulated_nodes, place)
        return Nothing({"cluster": "the site's own"})

    def client(self, recipe: BenchRecipe, place: Place) -> Driven:
        return Driven(recipe, place, measure)


def slurm_of(recipe: BenchRecipe, place: Place) -> Slurm:
    """Who is asked. Raises :class:`UsageError` where there is no cluster."""
    asked = recipe.workload.scheduler or Asked()
    if asked.emulated_nodes:
        return Emulated.slurm(place)
    if place.slurm is None:
        raise UsageError(
            "there is no cluster here", todo="`ai-how up` brings one up, or set `emulated_nodes`."
        )
    return place.slurm


def measure(recipe: BenchRecipe, place: Place, number: int) -> Measured:
    """Fill the queue, submit, wait for the starts, submit an array, cancel everything. Nothing of it stays."""
    asked, slurm = recipe.workload.scheduler or Asked(), slurm_of(recipe, place)
    name = f"bench-{secrets.token_hex(4)}"
    with working_folder(None, recipe, place) as folder:
        run = Run(slurm, name, place.share if place.share and not asked.emulated_nodes else folder, folder)
        try:
            return run.all(asked, recipe.load.clients)
        finally:
            with suppress(CommandFailed):
                slurm.cancel_named(name)
            run.clean()


class Run:
    """One measurement: every job has the name ``name``, so that all of them can be found and cancelled."""

    def __init__(self, slurm: Slurm, name: str, share: Path, folder: Path) -> None:
        self._slurm, self._name, self._folder = slurm, name, folder
        self._starts = share / f"{name}-starts"

    def clean(self) -> None:
        """Take away what the jobs have told."""
        with undisturbed():
            shutil.rmtree(self._starts, ignore_errors=True)

    def all(self, asked: Asked, clients: int) -> Measured:
        self._starts.mkdir(mode=0o700)
        begun = time.monotonic()
        depth = self._fill(asked.depth)
        submits, seconds = self._submit(asked.jobs, clients)
        starts = self._started(submits, asked.jobs)
        listing = self._timed(lambda: self._slurm.jobs())
        array = self._timed(lambda: self._slurm.submit(_held(asked.array), self._name, self._folder))
        cancel = self._timed(self._cancelled)
        waiting = asked.depth + asked.array
        values = {
            "submits": Value(value=asked.jobs / seconds, unit="1/s"),
            "array_tasks": Value(value=asked.array / array, unit="1/s"),
            "cancels": Value(value=waiting / cancel, unit="1/s"),
            "listing": Value(value=listing * 1e3, unit="ms", better="lower"),
        }
        if asked.depth:
            values["filled"] = Value(value=asked.depth / depth, unit="1/s")
        return Measured(
            seconds=time.monotonic() - begun,
            histograms={"submit": seconds_histogram([took for _, took in submits.values()]),
                        "start": seconds_histogram([max(0.0, one) for one in starts])},
            values=values,
            sent=asked.jobs,
            good=len(starts),
            errors={"did not start": asked.jobs - len(starts)} if len(starts) < asked.jobs else {},
            doubts=clocks_apart(starts),
            notes={"depth": asked.depth, "clients": clients},
        )  # fmt: skip

    @staticmethod
    def _timed(act: Any) -> float:
        before = time.monotonic()
        act()
        return max(time.monotonic() - before, 1e-9)

    def _fill(self, depth: int) -> float:
        """Put so many held jobs into the queue, as arrays; the seconds it took."""
        before = time.monotonic()
        for first in range(0, depth, _ARRAY):
            self._slurm.submit(_held(min(_ARRAY, depth - first)), self._name, self._folder)
        return max(time.monotonic() - before, 1e-9)

    def _submit(self, jobs: int, clients: int) -> tuple[Mapping[int, tuple[float, float]], float]:
        """Jobs that say when they start: of each the instant it was submitted, and what that took."""
        found: dict[int, tuple[float, float]] = {}
        lock = threading.Lock()

        def one(index: int) -> None:
            text = _SAYS.format(file=shlex.quote(str(self._starts / str(index))))
            wall, before = time.time(), time.monotonic()
            self._slurm.submit(text, self._name, self._folder)
            with lock:
                found[index] = wall, time.monotonic() - before

        before = time.monotonic()
        with ThreadPoolExecutor(clients) as threads, as_everybody():
            list(threads.map(one, range(jobs)))
        return found, max(time.monotonic() - before, 1e-9)

    def _started(self, submits: Mapping[int, tuple[float, float]], jobs: int) -> list[float]:
        """Seconds from the submission to the script's first line, of each job that started within patience."""

        def told() -> bool:
            return sum(1 for path in self._starts.iterdir() if path.name.isdigit()) == jobs

        with suppress(TimedOut):
            wait_until(told, what="the start of every job", timeout=_PATIENCE)
        # Each has a file of its own: several nodes that write to the end of one file of a network lose lines.
        return [
            float(path.read_text()) - submits[int(path.name)][0]
            for path in self._starts.iterdir()
            if path.name.isdigit()
        ]

    def _cancelled(self) -> None:
        """Cancel all of this name, and wait until none is left that waits or runs."""
        self._slurm.cancel_named(self._name)
        wait_until(
            lambda: not self._slurm.waiting_or_running(self._name),
            what="the end of all jobs",
            timeout=_PATIENCE,
        )


def clocks_apart(starts: Sequence[float]) -> dict[str, str]:
    """What there is against times that begin by this machine's clock and end by a node's. Pure."""
    early = [one for one in starts if one < 0]
    if not early:
        return {}
    return {
        "start": f"{len(early)} of {len(starts)} jobs started up to {-min(early):.3f} s before they were submitted: "
        "the clocks of this machine and of the nodes are apart"
    }


_OPTIONS = "#SBATCH --ntasks=1\n#SBATCH --mem=1M\n#SBATCH --time=00:05:00\n#SBATCH --output=/dev/null\n"
_SAYS = f"#!/bin/sh\n{_OPTIONS}date +%s.%N >{{file}}.part && mv {{file}}.part {{file}}\n"


def _held(tasks: int) -> str:
    """The script of an array whose tasks wait until they are cancelled. Pure."""
    return f"#!/bin/sh\n{_OPTIONS}#SBATCH --hold\n#SBATCH --array=0-{tasks - 1}\ntrue\n"


TARGET = Scheduling()
