"""The planner's integer program: how many devices of each group end in each pattern, and what each ask takes there.

Objectives, one after another: all demands met; the fewest running consumers disturbed; spread demands on as many
devices as can be; the fewest devices in use; the largest slice that could still be placed anywhere, then on every
device; what is there already kept for its consumer, then kept at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ai_how.gpu.ask import Ask
from ai_how.gpu.integer import INFINITE, Program
from ai_how.gpu.pattern import Group

LEAST, GREATEST = 1, -1
Key = TypeVar("Key")


@dataclass
class Columns:
    """The columns of the program, by what they count."""

    #: (group, pattern): devices of the group that end in the pattern.
    used: dict[tuple[int, int], int] = field(default_factory=dict)
    #: (group, ask): slices of the group's devices that the ask takes, those of ``slot`` excepted.
    taken: dict[tuple[int, int], int] = field(default_factory=dict)
    #: (group, slot, ask): slices in that very place that the ask takes.
    slot: dict[tuple[int, int, int], int] = field(default_factory=dict)
    #: (group, slot): slices in that place that nobody asks for and where work still runs.
    left: dict[tuple[int, int], int] = field(default_factory=dict)
    #: (group, pattern, ask): what a spread ask takes from the group's devices with that pattern.
    by_pattern: dict[tuple[int, int, int], int] = field(default_factory=dict)
    #: (group, pattern or -1, ask): on how many devices a spread ask is.
    hosts: dict[tuple[int, int, int], int] = field(default_factory=dict)
    #: consumer, or (group, slot) where it runs nowhere else: whether, or on how many devices, its work is disturbed.
    disturbed: dict[str | tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Solution:
    """How many there are of each; the keys are those of ``Columns``."""

    used: dict[tuple[int, int], int]
    taken: dict[tuple[int, int], int]
    slot: dict[tuple[int, int, int], int]
    left: dict[tuple[int, int], int]
    by_pattern: dict[tuple[int, int, int], int]
    #: The whole of what each ask got, by its number.
    met: dict[int, int]


@dataclass(frozen=True)
class Goals:
    """What the best placement reaches: consumers disturbed, hosts of spread demands, devices in use, the value of the
    largest slice that could still be placed, and the sum of those values over all devices."""

    disturbed: int
    hosts: int
    opened: int
    top: int
    room: int


class Model:
    """The program for these groups and asks. ``quiet`` disturbs nobody who runs; ``partly`` need not meet all."""

    def __init__(
        self, groups: Sequence[Group], asks: Sequence[Ask], *, quiet: bool = True, partly: bool = False
    ) -> None:
        self.groups, self.asks, self.quiet = groups, asks, quiet
        self.program = Program()
        self.columns = Columns()
        self._met: dict[int, dict[int, float]] = defaultdict(dict)
        for number, group in enumerate(groups):
            self._group(number, group)
        for ask in asks:
            self.program.row(self._met[ask.number], 0 if partly else ask.units, ask.units)

    def _group(self, number: int, group: Group) -> None:
        size = len(group.devices)
        program, columns = self.program, self.columns
        for index in range(len(group.patterns)):
            columns.used[number, index] = program.column(size)
        program.row({columns.used[number, index]: 1 for index in range(len(group.patterns))}, size, size)
        balance: dict[str, dict[int, float]] = defaultdict(dict)
        for index, pattern in enumerate(group.patterns):
            for name, count in pattern.counts.items():
                balance[name][columns.used[number, index]] = -count
        for ask, name in group.goods.items():
            if self.asks[ask].first.start is None and name in balance:
                most = size * max(pattern.counts.get(name, 0) for pattern in group.patterns)
                columns.taken[number, ask] = column = program.column(min(most, self.asks[ask].units))
                balance[name][column] = 1
                self._met[ask][column] = 1
        for slot in range(len(group.slots)):
            self._slot(number, group, slot, balance)
        for terms in balance.values():
            program.row(terms, 0, 0)
        self._spread(number, group)

    def _slot(self, number: int, group: Group, index: int, balance: dict[str, dict[int, float]]) -> None:
        """The place ``index``: its takers, what is left there, and who is disturbed when neither is so."""
        slot, size = group.slots[index], len(group.devices)
        program, columns = self.program, self.columns
        there = {columns.used[number, p]: 1.0 for p, pat in enumerate(group.patterns) if index in pat.slots}
        stays: dict[int, float] = {}
        given: dict[int, float] = {}
        for ask in dict.fromkeys((*slot.asks, *slot.pinned)):
            columns.slot[number, index, ask] = column = program.column(size)
            self._met[ask][column] = 1
            given[column] = 1
            if ask in slot.asks:
                stays[column] = 1
        if slot.running:
            columns.left[number, index] = column = program.column(size)
            given[column] = stays[column] = 1
            if self.quiet:
                program.row(stays, size, size)
            else:
                who = slot.consumer or (number, index)
                if who not in columns.disturbed:
                    columns.disturbed[who] = program.column(1 if slot.consumer else size)
                factor = size if slot.consumer else 1
                program.row({**stays, columns.disturbed[who]: factor}, size, INFINITE)
        if given:
            program.row({**{column: -factor for column, factor in there.items()}, **given}, -INFINITE, 0)
            balance[slot.profile].update(given)

    def _spread(self, number: int, group: Group) -> None:
        """Where the spread asks are: by pattern where several devices are alike, by device where it has slots."""
        spread = [ask for ask in group.goods if self.asks[ask].spread]
        program, columns, size = self.program, self.columns, len(group.devices)
        for ask in spread:
            alike = len(self.asks[ask].members)
            here = {
                column: -1.0 for key, column in columns.slot.items() if key[0] == number and key[2] == ask
            }
            if (number, ask) in columns.taken:
                here[columns.taken[number, ask]] = -1.0
            if size == 1:
                columns.hosts[number, -1, ask] = column = program.column(alike)
                program.row({column: 1, **here}, -INFINITE, 0)
                continue
            for index, pattern in enumerate(group.patterns):
                if count := pattern.counts.get(group.goods[ask], 0):
                    taken = program.column(count * size)
                    host = program.column(alike * size)
                    columns.by_pattern[number, index, ask] = taken
                    columns.hosts[number, index, ask] = host
                    program.row({host: 1, taken: -1}, -INFINITE, 0)
                    program.row({host: 1, columns.used[number, index]: -alike}, -INFINITE, 0)
                    here[taken] = 1.0
            program.row(here, 0, 0)
        for index, pattern in enumerate(group.patterns) if spread and size > 1 else ():
            for name, count in pattern.counts.items():
                takers = {columns.by_pattern[number, index, a]: 1.0 for a in spread if group.goods[a] == name}
                program.row({**takers, columns.used[number, index]: -count}, -INFINITE, 0)

    # --- objectives -----------------------------------------------------------------------------------------------

    def goals(self) -> Goals | None:
        """What the best placement reaches in all but the last objective; None when the demands cannot be met."""
        program = self.program
        values: list[int] | None = None
        totals = []
        for objective, sense in ((self._lost(), LEAST), (self._hosts(), GREATEST), (self._opened(), LEAST)):
            if objective or values is None:
                values = program.best(objective, sense)
                if values is None:
                    return None
            totals.append(program.keep(objective, values) if objective else 0)
        assert values is not None
        by_value = self._by_value()
        reached_now = [value for value, same in by_value.items() if any(values[column] for column in same)]
        top = max(reached_now, default=0)
        if sum(len(group.devices) for group in self.groups) > 1:
            for value in sorted(by_value, reverse=True):
                if value <= top:
                    break
                reached = self._reaching(value)
                found = self._best(reached, GREATEST)
                if any(found[column] for column in reached):
                    top = value
            program.row(self._reaching(top), 1, INFINITE)
        everywhere = self._everywhere()
        room = program.keep(everywhere, self._best(everywhere, GREATEST)) if everywhere else 0
        return Goals(totals[0], totals[1], totals[2], top, room)

    def reach(self, goals: Goals) -> None:
        """Ask for what another program has found to be the best."""
        program = self.program
        for objective, total in (
            (self._lost(), goals.disturbed),
            (self._hosts(), goals.hosts),
            (self._opened(), goals.opened),
            (self._everywhere(), goals.room),
        ):
            if objective:
                program.row(objective, total, total)
        if sum(len(group.devices) for group in self.groups) > 1:
            program.row(self._reaching(goals.top), 1, INFINITE)

    def best(self) -> Solution:
        """Of the placements that reach the goals the one that keeps most of what is there."""
        return self._solution(self._best(self._held() or self._opened(), GREATEST))

    def most(self) -> Solution:
        """As many units as can be met together; of several such choices, the one with most of the earlier asks."""
        objective = {column: 1.0 for terms in self._met.values() for column in terms}
        self.program.keep(objective, self._best(objective, GREATEST))
        earlier = {
            column: float(len(self.asks) - ask) for ask, terms in self._met.items() for column in terms
        }
        return self._solution(self._best(earlier, GREATEST))

    def takers(self, ask: int) -> dict[int, float]:
        """The columns that count what one ask takes."""
        return dict(self._met[ask])

    def feasible(self) -> bool:
        """Whether all demands can be met together."""
        return self.program.best({}, LEAST) is not None

    def _opened(self) -> dict[int, float]:
        return {
            column: 1.0
            for (number, index), column in self.columns.used.items()
            if self.groups[number].patterns[index].counts
        }

    def _lost(self) -> dict[int, float]:
        return dict.fromkeys(self.columns.disturbed.values(), 1.0)

    def _hosts(self) -> dict[int, float]:
        return dict.fromkeys(self.columns.hosts.values(), 1.0)

    def _by_value(self) -> dict[int, list[int]]:
        """The columns of patterns by how large a slice could still be placed."""
        found: dict[int, list[int]] = defaultdict(list)
        for (number, index), column in self.columns.used.items():
            found[self.groups[number].patterns[index].value].append(column)
        return found

    def _reaching(self, top: int) -> dict[int, float]:
        return {column: 1.0 for value, same in self._by_value().items() if value >= top for column in same}

    def _everywhere(self) -> dict[int, float]:
        return {column: float(value) for value, same in self._by_value().items() if value for column in same}

    def _best(self, objective: dict[int, float], sense: int) -> list[int]:
        values = self.program.best(objective, sense)
        assert values is not None, "what was kept cannot be missed"
        return values

    def _held(self) -> dict[int, float]:
        """What is there already: kept for its consumer first, then in use at all."""
        terms: dict[int, float] = defaultdict(float)
        for (number, index), column in self.columns.used.items():
            group = self.groups[number]
            terms[column] += sum(group.slots[slot].held for slot in group.patterns[index].slots)
        weight = 1 + sum(sum(slot.held for slot in group.slots) * len(group.devices) for group in self.groups)
        for (number, slot, ask), column in self.columns.slot.items():
            if ask in self.groups[number].slots[slot].asks:
                terms[column] += weight
        return {column: factor for column, factor in terms.items() if factor}

    def _solution(self, values: list[int]) -> Solution:
        columns = self.columns

        def some(of: dict[Key, int]) -> dict[Key, int]:
            return {key: values[column] for key, column in of.items() if values[column]}

        return Solution(
            some(columns.used),
            some(columns.taken),
            some(columns.slot),
            some(columns.left),
            some(columns.by_pattern),
            {ask.number: sum(values[column] for column in self._met[ask.number]) for ask in self.asks},
        )
