"""Plans and their steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Action(StrEnum):
    """What a step does. ``NOTHING`` is a step too: it says why nothing is needed."""

    INSTALL = "install"
    OPEN = "open"
    SWEEP = "sweep"
    CERTIFY = "certify"
    CREATE = "create"
    START = "start"
    CHANGE = "change"
    RESTART = "restart"
    DRAIN = "drain"
    REMOVE = "remove"
    REGISTER = "register"
    RECONFIGURE = "reconfigure"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Step:
    """One thing to do, and why. ``after`` are the ids of the steps that must have ended well before it."""

    action: Action
    target: str
    why: str
    after: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.action}:{self.target}"

    def as_json(self) -> dict[str, object]:
        return {"action": str(self.action), "target": self.target, "why": self.why, "after": list(self.after)}


@dataclass(frozen=True)
class Plan:
    """The ordered steps from what is to what is asked, the no-ops too."""

    steps: tuple[Step, ...]

    @property
    def work(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.action is not Action.NOTHING)


class Reporter(Protocol):
    """Hears what happens while a plan is carried out. Called from several threads."""

    def note(self, text: str) -> None: ...
    def planned(self, plan: Plan) -> None: ...
    def started(self, step: Step) -> None: ...
    def finished(self, step: Step, seconds: float) -> None: ...
    def failed(self, step: Step, error: BaseException) -> None: ...
    def undone(self, step: Step) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def note(self, text: str) -> None: ...
    def planned(self, plan: Plan) -> None: ...
    def started(self, step: Step) -> None: ...
    def finished(self, step: Step, seconds: float) -> None: ...
    def failed(self, step: Step, error: BaseException) -> None: ...
    def undone(self, step: Step) -> None: ...
