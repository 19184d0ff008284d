"""What a machine must have for what is asked of it: facts in, one verdict a check out. Pure.

A check belongs to the providers that need it, so a laptop is never told about KVM. What nobody could tell is a verdict
of its own and never stands for either of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ai_how.host.machine import Machine
from ai_how.host.model import Family


class Result(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    COULD_NOT_TELL = "could not tell"


@dataclass(frozen=True)
class Check:
    """One check: what came out, why, and the ``command`` that mends it, where there is one to type."""

    id: str
    result: Result
    why: str
    command: str | None = None

    def as_json(self) -> dict[str, object]:
        return {"id": self.id, "result": str(self.result), "why": self.why, "command": self.command}


@dataclass(frozen=True)
class Needs:
    """What is asked of the machine.

    ``cpu_cores``, ``memory_gb`` and ``disk_gb`` are the sums over the virtual machines, 0 without any. ``devices`` maps
    the PCI addresses of GPUs that must be there to their ids. ``ports`` maps ports that the file asks for to services.
    ``session`` tells that guests are the user's own processes (``qemu:///session``), not the system's.
    """

    providers: frozenset[str] = frozenset({"local"})
    cpu_cores: int = 0
    memory_gb: int = 0
    disk_gb: int = 0
    devices: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, str] = field(default_factory=dict)
    session: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of the machine.

    ``missing`` are programs of the catalogue that are not there (None: nobody looked), ``command`` installs them.
    ``taken`` maps ports that somebody else listens on to who that is (None: nobody looked). ``family`` is the
    distribution's, whose words the commands that mend something use.
    """

    machine: Machine
    missing: tuple[str, ...] | None = None
    command: str | None = None
    taken: Mapping[int, str] | None = None
    family: Family = "unknown"


Judge = Callable[[Facts, Needs], Check | None]


def judge(facts: Facts, needs: Needs, checks: Iterable[Judge]) -> tuple[Check, ...]:
    """Every check that concerns what is needed, in order."""
    found = (check(facts, needs) for check in checks)
    return tuple(check for check in found if check is not None)


def exit_code(checks: Iterable[Check]) -> int:
    """2 when a check failed, else 1 for a warning, else 9 when something could not be told, else 0."""
    results = {check.result for check in checks}
    codes = ((Result.FAILURE, 2), (Result.WARNING, 1), (Result.COULD_NOT_TELL, 9))
    return next((code for result, code in codes if result in results), 0)


def ok(name: str, why: str) -> Check:
    return Check(name, Result.OK, why)


def warning(name: str, why: str, command: str | None = None) -> Check:
    return Check(name, Result.WARNING, why, command)


def failure(name: str, why: str, command: str | None = None) -> Check:
    return Check(name, Result.FAILURE, why, command)


def unknown(name: str, why: str, command: str | None = None) -> Check:
    return Check(name, Result.COULD_NOT_TELL, why, command)


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
