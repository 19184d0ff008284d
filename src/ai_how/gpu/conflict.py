"""When not all demands can be met: the smallest set of them that cannot stand together, and the most that fits.

Feasible choices of demands are closed downwards: every part of one is feasible too. So a set cannot stand together
exactly when it is part of no largest feasible choice. The search keeps the largest feasible choices found so far, takes
the smallest set that is part of none of them, and asks whether that one is feasible: if so, it is grown to another
largest choice; if not, there is no smaller one (implicit hitting sets, as for smallest unsatisfiable cores).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ai_how.gpu.ask import Ask, gather
from ai_how.gpu.integer import INFINITE, Program
from ai_how.gpu.model import Conflict, Demand, Device
from ai_how.gpu.pattern import groups
from ai_how.gpu.solve import GREATEST, LEAST, Model
from ai_how.gpu.words import why

#: So many largest choices at most, for up to so many demands and for more; past that a set is made small by leaving out
#: one demand after another.
PATIENCE, MANY, HASTE = 64, 100, 16
#: How many demands of each sort are chosen.
Choice = tuple[int, ...]


def bare(devices: Sequence[Device]) -> tuple[Device, ...]:
    """The devices with nothing on them: whoever runs there can be drained, so that only the rest may conflict."""
    return tuple(replace(device, held=(), whole_for=None, whole_running=False) for device in devices)


def conflict(devices: Sequence[Device], demands: Sequence[Demand]) -> Conflict:
    """Why ``demands``, which cannot all be met, cannot."""
    empty = bare(devices)
    chosen = [demands[number] for number in sorted(_Sorts(empty, demands).smallest())]
    nearest = _nearest(empty, demands)
    fitting = sum(_nearest(empty, chosen).values())
    return Conflict(tuple(demand.name for demand in chosen), why(empty, chosen, fitting), nearest)


def _nearest(devices: Sequence[Device], demands: Sequence[Demand]) -> dict[str, int]:
    """The most units that can be met together, as a count for each demand; earlier ones of alike demands first."""
    asks = gather(devices, demands, apart=False)
    met = Model(groups(devices, demands, asks, apart=False), asks, partly=True).most().met
    counts: dict[str, int] = {demand.name: 0 for demand in demands}
    for ask in asks:
        rest = met[ask.number]
        for member in ask.members:
            given = min(rest, demands[member].count)
            counts[demands[member].name] += given
            rest -= given
    return counts


class _Sorts:
    """The demands by sort: those of one sort ask for the same and as much."""

    def __init__(self, devices: Sequence[Device], demands: Sequence[Demand]) -> None:
        # Where units of a demand are spread is a wish; whether they can be met does not depend on it.
        plain = [replace(demand, spreading="packed") for demand in demands]
        asks = gather(devices, plain, apart=False)
        sorts: dict[tuple[int, int], list[int]] = defaultdict(list)
        for ask in asks:
            for member in ask.members:
                sorts[ask.number, demands[member].count].append(member)
        self.members = list(sorts.values())
        self.most = tuple(len(members) for members in self.members)
        model = Model(groups(devices, plain, asks, apart=False), asks, partly=True)
        self.program = model.program
        self.columns = [self.program.column(most) for most in self.most]
        self._tie(model, asks, list(sorts))

    def _tie(self, model: Model, asks: Sequence[Ask], sorts: Sequence[tuple[int, int]]) -> None:
        for ask in asks:
            chosen = {
                column: -float(count)
                for column, (number, count) in zip(self.columns, sorts, strict=True)
                if number == ask.number
            }
            self.program.row({**model.takers(ask.number), **chosen}, 0, 0)

    def smallest(self) -> list[int]:
        """The places of the fewest demands that cannot stand together."""
        feasible: list[Choice] = []
        for _ in range(PATIENCE if sum(self.most) <= MANY else HASTE):
            choice = self._outside(feasible)
            larger = self._grow(choice)
            if larger is None:
                return self._places(choice)
            feasible.append(larger)
        return self._places(self._pared())

    def _places(self, choice: Choice) -> list[int]:
        return [
            place for members, count in zip(self.members, choice, strict=True) for place in members[:count]
        ]

    def _grow(self, choice: Choice) -> Choice | None:
        """A largest feasible choice that holds this one; None when this one is not feasible."""
        for column, least, most in zip(self.columns, choice, self.most, strict=True):
            self.program.bound(column, least, most)
        values = self.program.best(dict.fromkeys(self.columns, 1.0), GREATEST)
        return None if values is None else tuple(values[column] for column in self.columns)

    def _outside(self, feasible: Sequence[Choice]) -> Choice:
        """The fewest demands that are part of none of these choices."""
        program = Program()
        columns = [program.column(most) for most in self.most]
        for choice in feasible:
            beyond = {}
            for column, has, most in zip(columns, choice, self.most, strict=True):
                if has < most:
                    more = program.column(1)
                    beyond[more] = 1.0
                    program.row({column: 1, more: -(has + 1)}, 0, INFINITE)
            program.row(beyond, 1, INFINITE)
        values = program.best(dict.fromkeys(columns, 1.0), LEAST)
        assert values is not None, "all demands together are part of no feasible choice"
        return tuple(values[column] for column in columns)

    def _pared(self) -> Choice:
        """A set that cannot stand together, and could without any one of its demands."""
        choice = list(self.most)
        for sort, most in enumerate(self.most):
            low, high = 0, most
            while low < high:
                middle = (low + high) // 2
                choice[sort] = middle
                low, high = (middle + 1, high) if self._feasible(tuple(choice)) else (low, middle)
            choice[sort] = low
        return tuple(choice)

    def _feasible(self, choice: Choice) -> bool:
        for column, count in zip(self.columns, choice, strict=True):
            self.program.bound(column, count, count)
        return self.program.best({}, LEAST) is not None
