"""Carrying out a plan: in parallel where steps do not depend on each other, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from ai_how.errors import AiHowError, StepFailed
from ai_how.host import disk
from ai_how.run import Clock
from ai_how.site.model import Action, Plan, Reporter, Step
from ai_how.site.state import SiteState

Undo = Callable[[], None]
Perform = Callable[[Step], Undo | None]
WORKERS = 16


class Executor:
    """Runs the steps of one plan. ``actions`` says how each kind is performed."""

    def __init__(
        self, actions: Mapping[Action, Perform], state: SiteState, reporter: Reporter, clock: Clock
    ) -> None:
        self._actions = actions
        self._state = state
        self._reporter = reporter
        self._clock = clock
        self._undo: list[tuple[Step, Undo]] = []

    def run(self, plan: Plan) -> None:
        """Raises what the first failing step raised, after everything this run created was taken back."""
        self._state.journal(event="plan", steps=[step.as_json() for step in plan.work])
        try:
            self._run(plan)
        except BaseException as error:
            self._take_back()
            self._tell(event="failed", error=str(error))
            raise
        self._state.journal(event="done")

    def _run(self, plan: Plan) -> None:
        waiting = {step.id: step for step in plan.work}
        running: dict[Future[None], Step] = {}
        done: set[str] = set()
        failure: BaseException | None = None
        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                while running or (waiting and failure is None):
                    for step in list(waiting.values()) if failure is None else ():
                        if done.issuperset(step.after):
                            running[pool.submit(self._perform, step)] = waiting.pop(step.id)
                    if not running:
                        raise AssertionError(f"steps wait for each other: {sorted(waiting)}")
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        step = running.pop(future)
                        failure = failure or future.exception()
                        done.add(step.id)
            finally:
                # Ctrl-C arrives here: the steps under way are waited for, so that they can be taken back.
                waiting.clear()
        if failure is not None:
            raise failure

    def _perform(self, step: Step) -> None:
        self._reporter.started(step)
        self._state.journal(event="start", step=step.id)
        begin = self._clock.monotonic()
        try:
            undo = self._actions[step.action](step)
        except BaseException as error:
            # Looked at now: what is taken back makes room again.
            full = disk.shortage(self._state.folder)
            self._reporter.failed(step, error)
            self._tell(event="step-failed", step=step.id, error=str(error))
            raise _explained(step, error, full, self._state.folder) from error
        if undo is not None:
            self._undo.append((step, undo))
        seconds = self._clock.monotonic() - begin
        self._state.journal(event="end", step=step.id, seconds=round(seconds, 3))
        self._reporter.finished(step, seconds)

    def _take_back(self) -> None:
        while self._undo:
            step, undo = self._undo.pop()
            try:
                undo()
            except (AiHowError, OSError) as error:
                # The first error is the one to tell; what could not be taken back, the next `up` finds.
                self._reporter.note(f"could not take back: {step.action} {step.target}: {error}")
                self._tell(event="not-undone", step=step.id, error=str(error))
                continue
            self._reporter.undone(step)
            self._tell(event="undone", step=step.id)

    def _tell(self, **facts: object) -> None:
        """The journal of a run that fails. It may fail because nothing can be written: that is no reason to stop."""
        with suppress(OSError):
            self._state.journal(**facts)


def _explained(step: Step, error: BaseException, full: str | None, folder: Path) -> BaseException:
    """An error of the machine's (a full disk, a right that is missing) in words that name the step."""
    if full and isinstance(error, OSError | AiHowError):
        return StepFailed(
            f"could not {step.action} {step.target}: {full}",
            where=str(folder),
            cause=error.message if isinstance(error, AiHowError) else str(error),
            detail=error.detail if isinstance(error, AiHowError) else None,
            todo="What this run had made was taken back. Free some space, or choose another disk with --root.",
        )
    if isinstance(error, OSError):
        return StepFailed(
            f"could not {step.action} {step.target}: {error.strerror or error}",
            where=str(error.filename) if error.filename else None,
            todo="What this run had made was taken back. Mend the cause and run `ai-how up` again.",
        )
    if isinstance(error, AiHowError) and not isinstance(error, StepFailed):
        return StepFailed(
            f"could not {step.action} {step.target}: {error.message}",
            where=error.where, cause=error.cause, detail=error.detail, todo=error.todo,
        )  # fmt: skip
    return error
