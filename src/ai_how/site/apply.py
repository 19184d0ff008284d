"""How each kind of step is performed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ai_how.errors import AiHowError, StepFailed
from ai_how.providers.model import Provider, Undo
from ai_how.run import Clock, wait_until
from ai_how.services import Service
from ai_how.site.execute import Perform
from ai_how.site.model import Action, Reporter, Step
from ai_how.slurm.control import Slurm
from ai_how.slurm.model import Job
from ai_how.slurm.parse import expand
from ai_how.slurm.render import hostlist

#: Why a node is drained, in Slurm's own record; by it our drains are told from an administrator's.
REASON = "ai-how: leaves the site"
DRAIN_SECONDS = 24 * 3600.0
REGISTER_SECONDS = 90.0
#: What is left of the jobs after that is ended with the daemons.
PARK_SECONDS = 60.0


class Actions:
    """The effects behind the steps of a plan."""

    def __init__(
        self,
        provider: Provider,
        services: Sequence[Service],
        slurm: Slurm,
        reporter: Reporter,
        clock: Clock,
        certify: Callable[[], None] = lambda: None,
    ) -> None:
        self._certify = certify
        self._provider = provider
        self._services = {service.name: service for service in services}
        self._slurm = slurm
        self._reporter = reporter
        self._clock = clock

    @property
    def table(self) -> Mapping[Action, Perform]:
        """What performs each kind of step."""
        return {
            Action.OPEN: lambda step: self._provider.open(),
            Action.SWEEP: self._sweep,
            Action.CERTIFY: lambda step: self._certify(),
            Action.CREATE: self._create,
            Action.START: self._create,
            Action.RESTART: self._change,
            Action.CHANGE: self._change,
            Action.DRAIN: self._drain,
            Action.REMOVE: self._remove,
            Action.RECONFIGURE: self._reconfigure,
            Action.REGISTER: self._register,
        }

    def park_jobs(self) -> None:
        """Before the daemons stop: running jobs go back into the queue, those that cannot are cancelled."""
        try:
            if not self._slurm.alive():
                return
            if not any(_runs(job) for job in self._slurm.jobs()):
                return
        except AiHowError:
            # Without a controller there is nothing to park; what still runs is ended with the site.
            return
        parked: set[int] = set()

        def quiet() -> bool:
            running = [job for job in self._slurm.jobs() if _runs(job)]
            # Looked at anew each time: a job that waited begins in the place of one that was put back.
            for job in running:
                if job.id not in parked:
                    parked.add(job.id)
                    self._park(job)
            return not running

        try:
            wait_until(quiet, what="the end of the running jobs", timeout=PARK_SECONDS, clock=self._clock)
        except AiHowError as error:
            # A node whose slurmd is gone ends no job, and a controller may go now: that keeps no site up.
            self._reporter.note(f"{error.message}; they are ended with the site")

    def _park(self, job: Job) -> None:
        if self._slurm.requeue(job.id):
            self._reporter.note(f"job {job.id} ({job.name}) goes back into the queue")
        else:
            replica = job.name.startswith("serve-")
            why = "is a replica, and ends" if replica else "cannot be requeued and is cancelled"
            self._reporter.note(f"job {job.id} ({job.name}) {why}")
            self._slurm.cancel(job.id)

    def _sweep(self, step: Step) -> None:
        self._provider.sweep()

    def _create(self, step: Step) -> Undo:
        return self._provider.create(self._services[step.target])

    def _change(self, step: Step) -> Undo:
        return self._provider.change(self._services[step.target])

    def _drain(self, step: Step) -> Undo | None:
        node = _node(step)
        if all(state.name != node for state in self._slurm.nodes()):
            return None
        self._slurm.drain(node, REASON)
        told: set[int] = set()

        def empty() -> bool:
            jobs = [job for job in self._slurm.jobs() if _runs(job) and node in _expanded(job.nodes)]
            for job in jobs:
                if job.id not in told:
                    told.add(job.id)
                    self._reporter.note(f"{node} is drained when job {job.id} ({job.name}) has ended")
            return not jobs

        wait_until(
            empty,
            what=f"the end of the jobs on {node}",
            timeout=DRAIN_SECONDS,
            clock=self._clock,
            longest=1.0,
        )
        return lambda: self._slurm.resume(node)

    def _remove(self, step: Step) -> None:
        self._provider.destroy(step.target)

    def _reconfigure(self, step: Step) -> None:
        self._slurm.reconfigure()

    def _register(self, step: Step) -> None:
        waiting: list[str] = []

        def ready() -> bool:
            states = self._slurm.nodes()
            ours = [
                state.name for state in states if "DRAIN" in state.flags and state.reason.startswith("ai-how")
            ]
            if ours:
                self._slurm.resume(hostlist(ours))
            waiting[:] = [
                state.name
                for state in states
                if not state.usable and not _of_administrator(state.flags, state.reason)
            ]
            return not waiting

        try:
            wait_until(
                ready, what="the registration of every node", timeout=REGISTER_SECONDS, clock=self._clock
            )
        except AiHowError as error:
            raise StepFailed(
                f"{len(waiting)} nodes did not register with slurmctld: {hostlist(waiting)}",
                cause=error.message,
                todo="Their logs are in the site's folder: log/slurmd-<node>.log.",
            ) from error


def _of_administrator(flags: frozenset[str], reason: str) -> bool:
    """Drained by somebody for a reason of theirs: that is as they want it."""
    return "DRAIN" in flags and not reason.startswith("ai-how")


def _runs(job: Job) -> bool:
    return job.state in {"RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING", "STOPPED"}


def _node(step: Step) -> str:
    return step.target.removeprefix("slurmd-")


def _expanded(nodes: str) -> set[str]:
    """The names that a hostlist stands for."""
    return set(expand(nodes))
