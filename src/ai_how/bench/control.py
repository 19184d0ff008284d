"""Carries a bench recipe out: bring up, calibrate, run, repeat; whatever happens, what was measured is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

from ai_how import __version__
from ai_how.bench.calibrate import BeyondGenerator, refuse_beyond
from ai_how.bench.environment import capture, yardstick
from ai_how.bench.figures import figures, record
from ai_how.bench.interfaces import Client, Log, Measured, Monitor, Place, Service, Target
from ai_how.bench.load import INTERRUPTED
from ai_how.bench.model import VERSION, Calibration, Probe, Result, RunRecord, Saturation, spot
from ai_how.bench.priority import first_in_line
from ai_how.bench.search import answer, ends, following, judged, setting, unsure
from ai_how.bench.second.control import seconded
from ai_how.bench.targets import target_of
from ai_how.bench.targets.web import address_of
from ai_how.bench.verdict import DRIFT, spoilt
from ai_how.bench.work import Progress
from ai_how.errors import AiHowError
from ai_how.run import undisturbed
from ai_how.spec.bench import BenchRecipe, override, points
from ai_how.spec.bench_load import Search, Setting

#: How often, and for how many seconds each, a run waits for a machine that is slower than it was.
_WAITS, _WAIT = 12, 0.25


@dataclass(frozen=True)
class Spot:
    """One point on one side: its settings, the recipe that has them, and the place where it is asked."""

    side: str
    point: Mapping[str, Setting]
    recipe: BenchRecipe
    place: Place

    @property
    def words(self) -> str:
        """``side a, load.rate=20``; empty where there is one alone."""
        side = f"side {self.side}" if self.side else ""
        return ", ".join(part for part in (side, spot(self.point)) if part)


def spots(recipe: BenchRecipe, place: Place) -> list[Spot]:
    """Every point of every side. A side of its own address has that one in its place."""
    found = []
    for side in ("a", "b") if recipe.against else ("",):
        own = override(recipe, recipe.against) if side == "b" else recipe
        there = place
        if side == "b" and own.target.url and own.target.url != recipe.target.url:
            there = replace(place, address=address_of(own.target.url, own.target.certificate))
        found += [Spot(side, point, override(own, point), there) for point in points(recipe)]
    return found


def rounds(recipe: BenchRecipe, all_: Sequence[Spot]) -> list[tuple[int, Spot]]:
    """Which spot is measured when: every repetition visits all points, and the two sides take turns to be first.

    So what changes with the hour falls on all of them alike, and not on the one that happened to be last. The turns go
    a b, b a, b a, a b: where a run is like the one just before it, pairs that alternate are like each other as well,
    and a test that takes them for independent calls more than one change in twenty where there is none.
    """
    found = []
    half = len(all_) // 2
    for number in range(1, recipe.repetitions + 1):
        if not recipe.against:
            found += [(number, one) for one in all_]
            continue
        for pair in zip(all_[:half], all_[half:], strict=True):
            found += [(number, one) for one in (pair if number % 4 in (0, 1) else reversed(pair))]
    return found


def _plain(load: float | None) -> str:
    return "none" if load is None else f"{load:g}"


class Bench:
    """One bench run. ``heard`` is told how each run goes, several times a second; ``say`` what happens."""

    def __init__(
        self,
        recipe: BenchRecipe,
        place: Place,
        *,
        log: Log | None = None,
        monitor: Monitor | None = None,
        heard: Callable[[str, Progress], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._recipe, self._place, self._log, self._monitor = recipe, place, log, monitor
        self._heard = heard
        self._say = say or (lambda _: None)
        self._target: Target = target_of(recipe.target.api)
        self._runs: list[RunRecord] = []
        self._saturation: list[Saturation] = []
        self._clients: dict[str, Client] = {}
        self._calibrations: dict[str, Calibration | None] = {}
        self._spoilt: list[RunRecord] = []
        self._quickest = math.inf
        self._probed: dict[str, Calibration] = {}
        self._facts: dict[str, Any] = {}
        self._environment: dict[str, Any] = {}
        self._partial: str | None = None
        self._started, self._begun = place.clock.now(), place.clock.monotonic()

    def run(self) -> Result:
        """Measure, and hand back all that was measured.

        Raises :class:`CouldNotTell` when the target does not answer to begin with, and :class:`AiHowError` when the
        recipe asks for more than the generator can do. A target that goes down later, and Ctrl-C, end it early: the
        result then says so in ``partial``.
        """
        self._environment = capture(self._place.gate)
        with (
            suppress(KeyboardInterrupt),
            ExitStack() as stack,
        ):  # Ctrl-C may come again while all is taken down
            try:
                self._measure(stack)
            except KeyboardInterrupt:
                self._partial = self._partial or INTERRUPTED
        with undisturbed():
            return self._kept()

    def _measure(self, stack: ExitStack) -> None:
        # Services first, without priority: what they start must not inherit it.
        for side in {one.side: one for one in spots(self._recipe, self._place)}.values():
            service: Service = self._target.service(side.recipe, side.place)
            stack.callback(self._stopped, service)
            self._facts[side.side or "service"] = dict(service.start())
        self._environment["real_time"] = stack.enter_context(first_in_line())
        stack.callback(self._close)
        everything = spots(self._recipe, self._place)
        if self._recipe.search is not None:
            for one in everything:
                self._seek(one, self._recipe.search)
            return
        for number, one in rounds(self._recipe, everything):
            self._once(number, one)
            if self._partial:
                return

    def _stopped(self, service: Service) -> None:
        """A service that does not go away is said, and costs nothing of what was measured."""
        try:
            service.stop()
        except AiHowError as error:
            self._say(f"the service could not be taken down: {error.message}. {error.todo or ''}".rstrip())

    def _seek(self, one: Spot, asked: Search) -> None:
        """Try loads, then confirm the highest that met the objective; where that fails, go on below it."""
        probes: list[Probe] = []
        shares: list[float] = []
        while not self._partial:
            load = following(asked, probes) or unsure(probes)
            if load is not None:
                before = sum(probe.load == load for probe in probes)
                probes += self._tried(1 + before, one, asked, load, "probe")
                continue
            met, _ = ends(probes)
            if met is None:
                break
            confirmed = [
                probe
                for number in range(1, self._recipe.repetitions + 1)
                for probe in self._tried(number, one, asked, met, "run")
            ]
            shares = [probe.share for probe in confirmed]
            if 2 * sum(probe.met for probe in confirmed) > len(confirmed) or self._partial:
                break
            self._say(f"{asked.key} {met:g} was met once and not again: going on below it")
            self._taken_back(one.side, {asked.key: setting(asked, met)})
            shares = []
            probes.append(confirmed[-1].model_copy(update={"met": False}))
        found = answer(asked, one.side, probes, shares)
        self._saturation.append(found)
        self._say(f"{asked.key}: {_plain(found.met)} meets the objective, {_plain(found.missed)} does not")

    def _taken_back(self, side: str, point: Mapping[str, Setting]) -> None:
        """What was to confirm a load has become one more try of it: it stays in the record, and is in no figure."""
        self._runs = [
            run.model_copy(update={"purpose": "probe"})
            if run.side == side and dict(run.point) == point
            else run
            for run in self._runs
        ]

    def _tried(self, number: int, one: Spot, asked: Search, load: float, purpose: str) -> list[Probe]:
        """One run at that load, judged; nothing when the target was gone."""
        there = replace(one, recipe=override(one.recipe, {asked.key: setting(asked, load)}),
                        point={asked.key: setting(asked, load)})  # fmt: skip
        try:
            run = self._once(number, there, purpose)
        except BeyondGenerator as error:
            return [Probe(load=load, share=0.0, met=False, reasons=(error.message,))]
        if run is None:
            return []
        probe = judged(there.recipe, load, run)
        self._say(f"{asked.key} {load:g}: {probe.share:.1%} kept the objective")
        return [probe]

    def _once(self, number: int, one: Spot, purpose: str = "run") -> RunRecord | None:
        """Run one spot once, and keep it. None when the target took no connection."""
        which = f"run {number} of {self._recipe.repetitions}" if purpose == "run" else "a try"
        words = which + (f", {one.words}" if one.words else "")
        before: tuple[RunRecord, Measured] | None = None
        try:
            for left in range(self._recipe.again, -1, -1):
                ran = self._ran(words, number, one, purpose)
                if ran is None:
                    break
                why = spoilt(one.recipe, ran[0]) if left else ""
                if not why:
                    return self._keep(words, *ran)
                self._say(f"{words} is measured again: {why}")
                self._spoilt.append(ran[0])
                before = ran
        except AiHowError as error:
            # Before anything was measured it is an error; afterwards what was measured is worth more than that.
            beyond = isinstance(error, BeyondGenerator) and self._recipe.search is not None
            if beyond or not (self._runs or before):
                raise
            self._partial = f"{words} could not be measured: {error.message}"
        except Exception as error:
            if not (self._runs or before):
                raise
            self._partial = f"{words} could not be measured: an error that nobody foresaw: {error!r:.200}"
        if before is None:
            return None
        # It could not be measured again: a run with a reason against it is more than none.
        self._spoilt.pop()
        return self._keep(words, *before)

    def _ran(self, words: str, number: int, one: Spot, purpose: str) -> tuple[RunRecord, Measured] | None:
        client, calibration = self._client(one, purpose)
        clock, heard = self._place.clock, self._heard
        self._about(words)
        took, started = self._yardstick(), clock.now()
        if self._monitor is not None:
            self._monitor.start()
        try:
            found: Measured = client.run(number, None if heard is None else lambda how: heard(words, how))
        except OSError as error:
            self._partial = f"the target took no connection before {words}: {error}"
            return None
        finally:
            sampled = self._monitor.stop() if self._monitor is not None else ()
        made = record(one.recipe, number, started, found)
        made = made.model_copy(update={
            "point": dict(one.point), "side": one.side, "purpose": purpose, "yardstick_ms": took,
            "calibration": calibration, "series": (*made.series, *sampled),
        })  # fmt: skip
        return made, found

    def _about(self, words: str) -> None:
        """Whoever watches is told what begins: a program with a load of its own says nothing more."""
        if self._heard is not None:
            self._heard(words, Progress(None))

    def _yardstick(self) -> float:
        """The yardstick, when this machine is as it was; after a while, as it is now."""
        clock = self._place.clock
        for _ in range(_WAITS):
            took = yardstick(clock)
            self._quickest = min(took, self._quickest)
            if took <= (1 + DRIFT) * self._quickest:
                break
            clock.sleep(_WAIT)
        return took

    def _keep(self, words: str, made: RunRecord, found: Measured) -> RunRecord:
        self._runs.append(made)
        if found.stopped:
            self._partial = (
                INTERRUPTED if found.stopped == INTERRUPTED else f"{words} ended early: {found.stopped}"
            )
        if self._log is not None:
            self._log.samples(len(self._runs) - 1, found.exchanges)
            self._log.keep(self._kept(self._partial or "it had not come to its end", whole=False))
        return made

    def _client(self, one: Spot, purpose: str) -> tuple[Client, Calibration | None]:
        """The spot's client, calibrated when it is first asked for; probes of a search share one calibration.

        Several processes are one client's at a time: those of another point may wait for the very same nodes.
        """
        name = one.words + (" probe" if purpose == "probe" else "")
        if name in self._clients:
            return self._clients[name], self._calibrations[name]
        if one.recipe.load.nodes or one.recipe.load.processes > 1:
            self._close()
        client = self._target.client(one.recipe, one.place)
        if purpose == "run":
            client = seconded(one.recipe, one.place, client)
        self._clients[name] = client
        if name not in self._calibrations:
            try:
                self._calibrations[name] = self._calibrated(client, one, purpose)
            except AiHowError:
                self._clients.pop(name).close()
                raise
        return client, self._calibrations[name]

    def _calibrated(self, client: Client, one: Spot, purpose: str) -> Calibration | None:
        before = self._probed.get(one.side)
        if purpose == "probe" and before is not None:
            refuse_beyond(one.recipe, before.ceiling)
            return before
        self._about("measuring the generator")
        calibration = client.calibrate()
        if calibration is not None:
            self._probed.setdefault(one.side, calibration)
            self._told(calibration)
        return calibration

    def _told(self, calibration: Calibration) -> None:
        late = calibration.lag_p99_ms
        self._say(
            f"the generator can do {calibration.ceiling:,.0f} requests a second here"
            + (f", and sends them up to {late:.2f} ms late (p99)" if late is not None else "")
        )

    def _close(self) -> None:
        for client in self._clients.values():
            with suppress(AiHowError):
                client.close()
        self._clients.clear()

    def _kept(self, partial: str | None = None, *, whole: bool = True) -> Result:
        """All that is known by now; without figures where it is not ``whole``: they follow from the runs."""
        calibrations = [found for found in self._calibrations.values() if found is not None]
        return Result(
            version=VERSION,
            kind="bench-result",
            ai_how=__version__,
            started=self._started,
            seconds=self._place.clock.monotonic() - self._begun,
            recipe=self._recipe,
            address=str(self._place.address or ""),
            service=self._facts,
            environment=self._environment,
            calibration=max(calibrations, key=lambda one: one.rate or 0.0, default=None),
            runs=tuple(self._runs),
            figures=figures(self._recipe, self._runs) if whole else (),
            saturation=tuple(self._saturation),
            spoilt=tuple(self._spoilt),
            partial=partial or self._partial,
        )
