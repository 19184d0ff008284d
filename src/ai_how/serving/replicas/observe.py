"""Looks at Slurm, at the endpoint records and at what the gateway says, each as seldom as will do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai_how.errors import AiHowError
from ai_how.run import Clock
from ai_how.serving.replicas.control import Replicas
from ai_how.serving.replicas.model import JobFacts, ReplicaWanted, Submitter
from ai_how.serving.replicas.plan import ENDING, RUNNING, STOPPED, WAITING, base_state
from ai_how.wire import EndpointRecord

# File systems keep time in ticks: a change within so many seconds of another may not show in the folder's.
_TICK = 0.05
_ALIVE = WAITING | RUNNING | STOPPED | ENDING


@dataclass
class SlurmView:
    """What Slurm said last. ``problem`` is why it could not be asked just now; ``at`` when it was asked, monotonic.

    ``ended`` are jobs of replicas that Slurm holds no more among the living.
    """

    jobs: Mapping[int, JobFacts] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    problem: str = "it was not asked yet"
    at: float = float("-inf")
    known: bool = False


class SlurmLooker:
    """Asks Slurm: two commands a look, and one more for each replica whose job has ended since."""

    def __init__(self, submitter: Submitter, clock: Clock, nodes_every: float) -> None:
        self._submitter = submitter
        self._clock = clock
        self._nodes_every = nodes_every
        self._nodes_at = float("-inf")
        self._ended: dict[int, JobFacts] = {}
        self.view = SlurmView()

    def look(self, wanted: Sequence[ReplicaWanted]) -> None:
        """Ask anew. When Slurm does not answer, what it said before stands."""
        now = self._clock.monotonic()
        try:
            live = {job.id: job for job in self._submitter.live_jobs()}
            if wanted and now - self._nodes_at >= self._nodes_every:
                self.view.drained = frozenset(self._submitter.drained_nodes())
                self._nodes_at = now
            asked = {one.job_id for one in wanted if one.job_id is not None}
            for job_id in asked - live.keys() - self._ended.keys():
                job = self._submitter.job(job_id)
                if job is not None:
                    self._ended[job_id] = job
            self._ended = {job_id: job for job_id, job in self._ended.items() if job_id in asked}
        except AiHowError as error:
            self.view.problem, self.view.at = error.message, self._clock.monotonic()
            return
        self.view.jobs = {**self._ended, **live}
        self.view.problem, self.view.at, self.view.known = "", self._clock.monotonic(), True

    def alive(self, job_id: int) -> bool:
        """Whether that job waits, runs or ends right now, as far as is known."""
        job = self.view.jobs.get(job_id)
        return job is None or base_state(job.state) in _ALIVE


class Watched:
    """A folder of this machine: whether it has changed since the last look."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._mark: int | None = None

    def changed(self) -> bool:
        """One ``stat``. The first answer is yes; so is one that comes too soon after a change to be sure."""
        try:
            mark = os.stat(self._folder).st_mtime_ns
        except OSError:
            mark = 0
        if mark == self._mark:
            return False
        self._mark = mark if abs(self._clock.now() - mark / 1e9) > _TICK else None
        return True


class RecordLooker:
    """Reads the endpoint records when their folder has changed, or, where that cannot be seen, every few seconds.

    ``folder`` is the folder where it is one of this machine. Heartbeats are counted by the clock of this machine: each
    is as old as the look that found it new.
    """

    def __init__(self, replicas: Replicas, clock: Clock, folder: Path | None, every: float) -> None:
        self._replicas = replicas
        self._clock = clock
        self._folder = folder
        self._watched = Watched(folder, clock) if folder else None
        self._every = every
        self._next = float("-inf")
        self._beats: dict[str, tuple[float, float]] = {}
        self.records: Mapping[str, EndpointRecord] = {}

    def look(self) -> bool:
        """Whether there were new records to read. Records that cannot be read now stay as they were."""
        now = self._clock.monotonic()
        if now < self._next:
            return False
        if self._watched is not None and not self._watched.changed():
            return False
        try:
            found = self._replicas.records()
        except AiHowError:
            self._next = now + self._every
            return False
        # With hundreds of replicas the folder changes all the time: a tenth of the time goes into reading it at most.
        took = self._clock.monotonic() - now
        self._next = now + (10 * took if self._watched is not None else self._every)
        changed = {n: (r.host, r.port, r.leaving) for n, r in found.items()} != {
            n: (r.host, r.port, r.leaving) for n, r in self.records.items()
        }
        self.records = self._by_our_clock(found)
        return changed

    def _by_our_clock(self, found: Mapping[str, EndpointRecord]) -> Mapping[str, EndpointRecord]:
        now = self._clock.now()
        beats: dict[str, tuple[float, float]] = {}
        for nonce, record in found.items():
            before = self._beats.get(nonce)
            if before is not None and before[0] == record.heartbeat:
                beats[nonce] = before
            else:
                # The first one may be of long ago; where the folder is this machine's, so is the clock, mostly.
                old = before is None and self._folder is not None
                beats[nonce] = record.heartbeat, min(record.heartbeat, now) if old else now
        self._beats = beats
        return {nonce: one.model_copy(update={"heartbeat": beats[nonce][1]}) for nonce, one in found.items()}
