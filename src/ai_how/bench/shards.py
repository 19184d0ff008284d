"""A load that several processes generate, here or by srun on other nodes: one schedule, dealt out on one clock."""

from __future__ import annotations

import base64
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ai_how.bench import schedule
from ai_how.bench.calibrate import refuse_beyond
from ai_how.bench.histogram import Histogram
from ai_how.bench.interfaces import Heard, Measured, Place
from ai_how.bench.load import INTERRUPTED
from ai_how.bench.model import Calibration, Generator
from ai_how.bench.parcel import unpacked
from ai_how.bench.work import Progress, fresh_lot
from ai_how.errors import AiHowError, TimedOut
from ai_how.run import Command
from ai_how.run.talk import Talk
from ai_how.spec.bench import BenchRecipe

#: Seconds until the processes must be there (srun may wait for an allocation), and for each other answer.
_START, _ANSWER = 120.0, 60.0
#: Seconds from when all are told until the first request is due, so that all have their requests made by then.
_LEAD = 0.3
#: Exchanges of the time of day with each process; the quickest one counts.
_CLOCKS = 30
#: Seconds without a word of a process under load, beyond what the run and its timeout take.
_SILENCE = 30.0
_LABEL = re.compile(r"^\s*(\d+): ?(.*)$")


class Wire(Protocol):
    """Lines to and from several processes."""

    def send(self, index: int | None, facts: Mapping[str, Any]) -> None: ...
    def receive(self, timeout: float) -> tuple[int, Mapping[str, Any], float]: ...
    def close(self) -> None: ...


class HereWire:
    """Processes of this machine, a pipe each; asked in turn."""

    def __init__(self, count: int) -> None:
        self._talks = [
            Talk(Command((sys.executable, "-m", "ai_how.bench.shard", f"--index={index}", "--chunk=65536")))
            for index in range(count)
        ]

    def send(self, index: int | None, facts: Mapping[str, Any]) -> None:
        for number, talk in enumerate(self._talks):
            if index in (None, number):
                talk.send(json.dumps(facts))

    def receive(self, timeout: float) -> tuple[int, Mapping[str, Any], float]:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for number, talk in enumerate(self._talks):
                try:
                    line, at = talk.line(0.001)
                except TimedOut:
                    continue
                return number, json.loads(line), at
        raise TimedOut(f"no generator said anything for {timeout:g} s")

    def close(self) -> None:
        for talk in self._talks:
            talk.close()


class SrunWire:
    """Processes on nodes of a Slurm cluster: inside an allocation in its nodes, otherwise in one of srun's own."""

    def __init__(self, place: Place, nodes: int, processes: int) -> None:
        words = (
            place.srun, f"--nodes={nodes}", f"--ntasks={nodes * processes}", f"--ntasks-per-node={processes}",
            "--job-name=ai-how-bench", "--label", "--input=all", "--overlap", "--kill-on-bad-exit=1",
            sys.executable, "-m", "ai_how.bench.shard",
        )  # fmt: skip
        self._talk = Talk(Command(words, env=place.slurm_env))

    def send(self, index: int | None, facts: Mapping[str, Any]) -> None:
        self._talk.send(json.dumps({**facts, "to": index}))

    def receive(self, timeout: float) -> tuple[int, Mapping[str, Any], float]:
        while True:
            line, at = self._talk.line(timeout)
            found = _LABEL.match(line)
            if found and found[2].startswith("{"):
                return int(found[1]), json.loads(found[2]), at

    def close(self) -> None:
        self._talk.close()


@dataclass
class Offset:
    """How far a process's clock is ahead of ours, in seconds, give or take ``error``."""

    offset: float
    error: float


def offset_of(sent: float, there: float, received: float) -> Offset:
    """From one exchange: whatever the way took, the other clock was read somewhere in between. Pure."""
    return Offset(there - (sent + received) / 2, (received - sent) / 2)


def settled(before: Offset, after: Offset) -> Offset:
    """One offset for a run between two measurements; their difference is part of its error. Pure."""
    moved = abs(after.offset - before.offset) / 2
    return Offset((before.offset + after.offset) / 2, max(before.error, after.error) + moved)


def together(found: Sequence[Calibration]) -> Calibration:
    """What several generators can do at once: their ceilings add up, the worst of them is how late they are. Pure."""
    lags50 = [one.lag_p50_ms for one in found if one.lag_p50_ms is not None]
    lags99 = [one.lag_p99_ms for one in found if one.lag_p99_ms is not None]
    events = [one.events_per_second for one in found if one.events_per_second is not None]
    rates = [one.rate for one in found if one.rate is not None]
    # The slowest bounds them all: each has the same share of the load.
    return Calibration(
        ceiling=min(one.ceiling for one in found) * len(found),
        events_per_second=sum(events) if events else None,
        rate=sum(rates) if rates else None,
        lag_p50_ms=max(lags50, default=None),
        lag_p99_ms=max(lags99, default=None),
        floor_ms=max(one.floor_ms for one in found),
    )


@dataclass
class _Taken:
    text: list[str] = field(default_factory=list)
    facts: list[Any] | None = None
    progress: tuple[int, int, int, float] = (0, 0, 0, 0.0)


class ShardedClient:
    """A target of the load core, loaded by several processes."""

    def __init__(self, recipe: BenchRecipe, place: Place, wire: Wire | None = None) -> None:
        self._recipe, self._place = recipe, place
        load = recipe.load
        self._count = load.generators
        self._wire: Wire = wire or (
            SrunWire(place, load.nodes, load.processes) if load.nodes else HereWire(load.processes)
        )
        self._nodes: dict[int, str] = {}
        try:
            self._prepare()
        except AiHowError:
            self._wire.close()
            raise

    def calibrate(self) -> Calibration | None:
        """Raises :class:`BeyondGenerator` when the recipe asks for more than all of them can do."""
        self._wire.send(None, {"do": "calibrate"})
        found = together(
            [Calibration.model_validate(one["calibration"]) for one in self._all("calibration").values()]
        )
        refuse_beyond(self._recipe, found.ceiling)
        return found

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        """Raises :class:`OSError` when the target takes no connection at first."""
        before = self._offsets()
        base, lot = time.monotonic() + _LEAD, fresh_lot()
        for index in range(self._count):
            at = base + before[index].offset
            self._wire.send(index, {"do": "run", "number": number, "lot": lot, "at": at})
        load = self._recipe.load
        intended = None if load.arrivals == "closed" else len(schedule.of_load(load, number))
        taken = self._taken(Progress(intended), heard)
        after = self._offsets()
        offsets = {index: settled(before[index], after[index]) for index in before}
        return self._merged(taken, offsets, base, intended)

    def close(self) -> None:
        self._wire.close()

    def _prepare(self) -> None:
        for index, facts in self._all("hello", _START).items():
            self._nodes[index] = facts["hello"]
        place = self._place
        self._wire.send(None, {
            "do": "prepare", "recipe": self._recipe.model_dump(mode="json"), "count": self._count,
            "address": place.address, "token": place.token, "settings": dict(place.settings),
        })  # fmt: skip
        self._all("ready")

    def _all(self, word: str, timeout: float = _ANSWER) -> dict[int, Mapping[str, Any]]:
        """One such answer of each process. Raises what one of them could not do."""
        found: dict[int, Mapping[str, Any]] = {}
        while len(found) < self._count:
            index, facts, _ = self._wire.receive(timeout)
            _raise(facts)
            if word in facts:
                found[index] = facts
        return found

    def _offsets(self) -> dict[int, Offset]:
        found: dict[int, Offset] = {}
        for index in range(self._count):
            tries = []
            for number in range(_CLOCKS):
                sent = time.monotonic()
                self._wire.send(index, {"do": "clock", "id": number})
                while True:
                    who, facts, at = self._wire.receive(_ANSWER)
                    if who == index and facts.get("clock") == number:
                        break
                tries.append(offset_of(sent, facts["at"], at))
            found[index] = min(tries, key=lambda one: one.error)
        return found

    def _taken(self, progress: Progress, heard: Heard | None) -> dict[int, _Taken]:
        found = {index: _Taken() for index in range(self._count)}
        longest = self._recipe.load.seconds + self._recipe.timeout + _SILENCE
        while any(one.facts is None for one in found.values()):
            try:
                index, facts, _ = self._wire.receive(longest)
            except KeyboardInterrupt:
                self._wire.send(None, {"do": "stop", "why": INTERRUPTED})
                continue
            _raise(facts)
            own = found[index]
            if "part" in facts:
                own.text.append(facts["part"])
            elif "taken" in facts:
                own.facts = facts["taken"]
            elif "progress" in facts and heard is not None:
                own.progress = tuple(facts["progress"])
                each = [one.progress for one in found.values()]
                progress.sent = sum(one[0] for one in each)
                progress.good = sum(one[1] for one in each)
                progress.failed = sum(one[2] for one in each)
                progress.seconds = max(one[3] for one in each)
                heard(progress)
        return found

    def _merged(
        self, taken: Mapping[int, _Taken], offsets: Mapping[int, Offset], base: float, intended: int | None
    ) -> Measured:
        exchanges, generators, busiest, longest = [], [], 0.0, 0.0
        stopped: str | None = None
        for index, own in taken.items():
            assert own.facts is not None
            _, seconds, busy, why = own.facts
            mine = unpacked(base64.b64decode("".join(own.text)), offsets[index].offset)
            exchanges += mine
            busiest, longest, stopped = max(busiest, busy), max(longest, seconds), stopped or why
            lag = Histogram(max(0, round((one.woke - one.due) * 1e9)) for one in mine)
            generators.append(
                Generator(
                    node=self._nodes[index], process=index, sent=len(mine), busy=busy,
                    lag_p99_ms=lag.percentile(0.99) / 1e6 if len(lag) else None,
                    offset_ms=offsets[index].offset * 1e3, error_ms=offsets[index].error * 1e3,
                )
            )  # fmt: skip
        return Measured(
            seconds=longest, exchanges=exchanges, intended=intended, busy=busiest, stopped=stopped,
            generators=tuple(generators),
        )  # fmt: skip


def _raise(facts: Mapping[str, Any]) -> None:
    if "error" in facts:
        raise AiHowError(facts["error"], cause=facts.get("cause"))
    if "unreachable" in facts:
        raise OSError(facts["unreachable"])
