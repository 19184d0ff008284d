"""The reconciler: brings what runs to what is wanted, pass after pass.

A pass looks, decides (:mod:`ai_how.serving.replicas.decide`) and acts. All that it must not forget is written down
before it is done, so that whoever comes after a crash goes on from there: replicas that run are found by their records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ai_how.errors import AiHowError, CouldNotTell, TimedOut
from ai_how.run import Clock, SystemClock
from ai_how.security import write_private
from ai_how.serving.replicas import demand, plan
from ai_how.serving.replicas.control import Replicas
from ai_how.serving.replicas.decide import Action, End, Note, Observed, Submit, decide, failure
from ai_how.serving.replicas.desired import Told
from ai_how.serving.replicas.model import Phase, ReplicaStatus, Submitter, Tunnels
from ai_how.serving.replicas.observe import RecordLooker, SlurmLooker, Watched
from ai_how.serving.replicas.scaling import ModelMemory
from ai_how.serving.replicas.store import Store, facts_of
from ai_how.serving.replicas.verify import Verifier
from ai_how.serving.replicas.view import Heard, ModelView, drained, model_routes, views
from ai_how.wire.routes import Demand, Routes

log = logging.getLogger("ai_how.reconciler")

#: Jobs that are asked for in one pass at most: a pass must end, so that the next hears what is new.
_SUBMISSIONS = 20
#: Seconds between two tries while Slurm does not take jobs.
_SLURM_AWAY = 5.0
#: What `ps` shows is written at least so often, in seconds: by that it is seen that the reconciler lives.
_SHOWN_EVERY = 1.0
#: Workers that have said nothing for so many seconds are forgotten.
_FORGET_WORKER = 3600.0
_AWAY = ("contact slurm controller", "timed out", "Connection refused", "Zero Bytes", "not respond")


@dataclass(frozen=True)
class Rhythm:
    """Seconds between two looks at Slurm: usually, while something is on its way, and at its nodes.

    What is on its way for longer than ``patience`` is looked at as seldom as the rest. While nothing is served, a look
    every ``resting`` seconds will do, if that is longer.
    """

    usual: float = 2.0
    eager: float = 0.5
    nodes: float = 2.0
    patience: float = 120.0
    resting: float = 0.0


class Reconciler:
    """One site's. ``told`` is called, from another thread, when there is a reason for another pass.

    With ``mirror`` the records that were found right are copied there, with an address of this machine: the gateway
    reaches a cluster behind SSH so.
    """

    def __init__(
        self,
        replicas: Replicas,
        submitter: Submitter,
        store: Store,
        *,
        local: bool = True,
        tunnels: Tunnels | None = None,
        mirror: Path | None = None,
        rhythm: Rhythm = Rhythm(),
        told: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._replicas, self._store, self._rhythm = replicas, store, rhythm
        self._clock = clock or SystemClock()
        self._slurm = SlurmLooker(submitter, self._clock, rhythm.nodes)
        folder = replicas.folders.endpoints if local else None
        self._records = RecordLooker(replicas, self._clock, folder, rhythm.eager)
        self._tunnels, self._mirror = tunnels, mirror
        self._verifier = Verifier(replicas.secret, told, self._clock, tunnels)
        self._wanted = {one.nonce: one for one in replicas.wanted()}
        self._folder = Watched(replicas.folders.wanted, self._clock)
        self._memory = dict(store.memory())
        self._remembered = dict(self._memory)
        self._told: Mapping[str, Told] = {}
        self._mark: tuple[int, ...] = ()
        self._workers: dict[str, Heard] = {}
        before = store.routes()
        self._routes = before or Routes(generation=0)
        self._written = before is not None
        self._drains: dict[str, int] = {}
        self._mirrored: dict[str, float] = {}
        self._not_before = 0.0
        self._busy_since = self._clock.monotonic()
        self._problem = ""
        self._news = False
        self._shown_at = float("-inf")
        self._shown_last: object = None
        self.shown: tuple[ModelView, ...] = ()
        self.statuses: tuple[ReplicaStatus, ...] = ()
        self.pass_seconds = 0.0

    # --- what comes from outside --------------------------------------------------------------------

    def hear(self, said: Demand) -> None:
        """Take in what a worker of the gateway says."""
        self._workers[said.worker] = Heard(said, self._clock.monotonic())

    def look_soon(self) -> None:
        """Somebody has changed something: Slurm is looked at in the next pass."""
        self._slurm.view.at = float("-inf")
        self._shown_at = float("-inf")

    def news(self) -> bool:
        """Whether there are other endpoint records than there were."""
        self._news = self._records.look() or self._news
        return self._news

    @property
    def pause(self) -> float:
        """Seconds until Slurm is to be looked at again, when nothing happens before."""
        eager = self._clock.monotonic() - self._busy_since < self._rhythm.patience
        moving = self.expecting or any(one.wanted.draining is not None for one in self.statuses)
        if not self._wanted:
            return max(self._rhythm.usual, self._rhythm.resting)
        return self._rhythm.eager if moving and eager else self._rhythm.usual

    @property
    def expecting(self) -> bool:
        """Whether something is on its way that is worth looking for often."""
        return any(one.phase in (Phase.PENDING, Phase.LOADING) for one in self.statuses)

    # --- a pass -------------------------------------------------------------------------------------

    def step(self) -> None:
        """One pass. Raises nothing: what goes wrong is told in the log and in `ps`, and tried again."""
        began = self._clock.monotonic()
        try:
            self._read_wanted()
            self._look()
            self._decide()
            self._problem = self._slurm.view.problem
        except (AiHowError, OSError) as error:
            self._problem = error.message if isinstance(error, AiHowError) else str(error)
            log.error("pass failed: %s", self._problem)
        self.pass_seconds = self._clock.monotonic() - began
        self._show()

    def _read_wanted(self) -> None:
        mark = self._store.mark()
        if mark != self._mark:
            self._told = self._store.told()
            self._mark = mark
            self._busy_since = self._clock.monotonic()
        if self._folder.changed():  # commands write into the records of replicas, too
            self._wanted = {one.nonce: one for one in self._replicas.wanted()}

    def _look(self) -> None:
        new, self._news = self.news(), False
        age = self._clock.monotonic() - self._slurm.view.at
        if age >= self.pause or new:
            self._slurm.look(tuple(self._wanted.values()))
            if not self._slurm.view.problem:
                self._settle()

    def _settle(self) -> None:
        """Jobs get their records back, and records and jobs that nobody asked for go."""
        jobs = self._slurm.view.jobs
        for nonce, one in self._wanted.items():
            adopted = plan.adopt(one, jobs.values())
            if adopted is not one:
                self._replicas.write(adopted)
                self._wanted[nonce] = adopted
                log.info("model=%s job=%s adopted", adopted.model, adopted.job_id)
        for record in plan.stale(self._records.records.values(), jobs):
            self._replicas.withdraw(record.nonce)
        folder = str(self._replicas.folders.replicas)
        for job in plan.orphans(jobs.values(), self._wanted.keys(), folder):
            log.warning("job=%d (%s) was asked for by nobody: it is ended", job.id, job.name)
            self._replicas.cancel(job.id)

    def _statuses(self) -> tuple[ReplicaStatus, ...]:
        now = self._clock.now()
        if not self._slurm.view.known:
            return tuple(plan.could_not_tell(one, self._slurm.view.problem) for one in self._wanted.values())
        records = self._records.records
        self._verifier.look((one, records[nonce]) for nonce, one in self._wanted.items() if nonce in records)
        monotonic = self._clock.monotonic()
        workers = self._workers.values()
        facts = plan.Facts(
            jobs=self._slurm.view.jobs,
            records=records,
            verified=self._verifier.verified,
            faults=self._verifier.faults,
            requests=demand.requests(workers, monotonic),
            drained={
                nonce
                for nonce, one in self._wanted.items()
                if one.draining is not None
                and nonce in self._drains
                and drained(nonce, self._drains[nonce], now - one.draining, workers, monotonic)
            },
        )
        return tuple(plan.judge(one, facts, now) for one in self._wanted.values())

    def _decide(self) -> None:
        self.statuses = self._statuses()
        now, monotonic = self._clock.now(), self._clock.monotonic()
        observed = Observed(
            replicas=self.statuses,
            load=demand.loads(self._workers.values(), monotonic),
            drained_nodes=self._slurm.view.drained,
            certain=not self._slurm.view.problem,
        )
        decision = decide(self._told, observed, self._memory, now)
        self._memory = dict(decision.memory)
        submitted = 0
        for action in decision.actions:
            if isinstance(action, Submit):
                submitted += 1
                if submitted > _SUBMISSIONS or monotonic < self._not_before:
                    continue
            self._act(action)
        if decision.actions:
            self.statuses = self._statuses()
        self._mirror_records()
        self.shown = views(self._told, replace(observed, replicas=self.statuses), self._memory, now)
        self._route()
        if self._memory != self._remembered:
            self._remember()

    def _remember(self) -> None:
        # When a model was asked last changes with each request: once in a while is enough for that.
        def rough(memory: Mapping[str, ModelMemory]) -> object:
            return {
                name: one.model_copy(
                    update={"asked": one.asked // 15, "more_since": None, "fewer_since": None}
                )
                for name, one in memory.items()
            }

        if rough(self._memory) != rough(self._remembered):
            self._store.remember(self._memory)
            self._remembered = dict(self._memory)

    # --- acting -------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        match action:
            case Submit():
                self._submit(action)
            case Note():
                wanted = self._wanted[action.nonce].model_copy(update=dict(action.changes))
                self._replicas.write(wanted)
                self._wanted[action.nonce] = wanted
                if action.why:
                    log.info("model=%s job=%s %s", wanted.model, wanted.job_id, action.why)
            case End():
                self._end(action)

    def _submit(self, action: Submit) -> None:
        try:
            wanted = self._replicas.start(action.model, action.version)
        except (TimedOut, CouldNotTell) as error:
            self._slurm_away(error)
            return
        except AiHowError as error:
            if any(word in f"{error.message} {error.detail or ''}" for word in _AWAY):
                self._slurm_away(error)
                return
            memory = self._memory.get(action.model, ModelMemory())
            self._memory[action.model] = failure(memory, error.message, self._clock.now())
            log.error("model=%s no job: %s", action.model, error.message)
            return
        self._wanted[wanted.nonce] = wanted
        self._busy_since = self._clock.monotonic()
        log.info("model=%s job=%s asked for: %s", wanted.model, wanted.job_id, action.why)

    def _slurm_away(self, error: AiHowError) -> None:
        self._not_before = self._clock.monotonic() + _SLURM_AWAY
        log.warning("Slurm takes no jobs now: %s", error.message)

    def _end(self, action: End) -> None:
        wanted = self._wanted[action.nonce]
        if action.failed and action.model in self._memory:
            memory = self._memory[action.model]
            self._memory[action.model] = memory.model_copy(update={"detail": self._replicas.tail(wanted)})
        record = self._records.records.get(action.nonce)
        active = wanted.job_id is not None and self._slurm.alive(wanted.job_id)
        self._replicas.end(wanted, active=active)
        del self._wanted[action.nonce]
        self._drains.pop(action.nonce, None)
        if self._tunnels is not None and record is not None:
            self._tunnels.close(record.host, record.port)
        self._unmirror(action.nonce)
        level = logging.WARNING if action.failed else logging.INFO
        log.log(level, "model=%s job=%s ended: %s", wanted.model, wanted.job_id, action.why)
        self._busy_since = self._clock.monotonic()

    # --- telling ------------------------------------------------------------------------------------

    def _route(self) -> None:
        if not self._slurm.view.known and self._written:
            return  # what was told before a restart holds until something better is known
        models = model_routes(self.shown)
        if models != self._routes.models or not self._written:
            self._routes = Routes(generation=self._routes.generation + 1, models=models)
            self._store.write_routes(self._routes)
            self._written = True
        # Also where nothing had to be written: one that was killed just after it did so said it all the same.
        for nonce, one in self._wanted.items():
            if one.draining is not None:
                self._drains.setdefault(nonce, self._routes.generation)

    def _mirror_records(self) -> None:
        if self._mirror is None or self._tunnels is None:
            return
        for one in self.statuses:
            record = one.record
            if one.phase is not Phase.READY or record is None:
                continue
            if self._mirrored.get(record.nonce) == record.heartbeat:
                continue
            self._mirrored[record.nonce] = record.heartbeat
            host, port = self._tunnels.local(record.host, record.port)
            copy = record.model_copy(update={"host": host, "port": port})
            write_private(self._mirror / copy.secret_file, self._replicas.secret(copy.nonce))
            write_private(self._mirror / copy.record_file, copy.model_dump_json() + "\n")

    def _unmirror(self, nonce: str) -> None:
        self._mirrored.pop(nonce, None)
        if self._mirror is not None:
            (self._mirror / f"{nonce}.json").unlink(missing_ok=True)
            (self._mirror / f"{nonce}.secret").unlink(missing_ok=True)

    def _show(self) -> None:
        now = self._clock.monotonic()
        told = [(one.state, one.reason, one.target, len(one.replicas)) for one in self.shown]
        seen = [(one.wanted.nonce, one.phase, one.reason, one.wanted.draining) for one in self.statuses]
        if now - self._shown_at < _SHOWN_EVERY and (told, seen, self._problem) == self._shown_last:
            return
        self._shown_at, self._shown_last = now, (told, seen, self._problem)
        facts = facts_of(
            self.shown,
            self.statuses,
            at=self._clock.now(),
            problem=self._problem,
            pass_seconds=self.pass_seconds,
        )
        try:
            self._store.show(facts)
        except OSError as error:
            log.error("what is cannot be written down: %s", error)
        silent = now - _FORGET_WORKER
        self._workers = {name: one for name, one in self._workers.items() if one.at > silent}

    def close(self) -> None:
        """End, and leave everything as it is."""
        self._verifier.close()
        self._store.remember(self._memory)
