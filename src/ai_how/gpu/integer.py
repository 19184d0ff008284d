"""An integer program for one objective after another, solved by HiGHS: each optimum is kept for those that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ai_how.errors import CouldNotTell

#: One row: the columns with their factors, and the least and the most that their sum may be.
Terms = Mapping[int, float]
INFINITE = float("inf")


@dataclass
class Program:
    """Columns are integers from 0 to their bound. Rows are added before the first ``best`` and after it."""

    uppers: list[int] = field(default_factory=list)
    rows: list[tuple[dict[int, float], float, float]] = field(default_factory=list)
    _solver: Any = None

    def column(self, upper: int) -> int:
        """A new column from 0 to ``upper``; its number."""
        self.uppers.append(upper)
        return len(self.uppers) - 1

    def row(self, terms: Terms, least: float, most: float) -> None:
        """The sum of ``terms`` is between ``least`` and ``most``."""
        self.rows.append((dict(terms), least, most))
        if self._solver is not None:
            self._add(self.rows[-1])

    def bound(self, column: int, least: int, most: int) -> None:
        """Another range for a column, from now on."""
        (self._solver or self._load()).changeColBounds(column, least, most)

    def best(self, objective: Terms, sense: int) -> list[int] | None:
        """The columns at the least (``sense`` 1) or greatest (-1) of ``objective``; None when nothing fits the rows.

        Exact: the objective's factors are whole numbers, and the gap that is left is less than one.
        Raises CouldNotTell when the solver has no answer.
        """
        if not self.uppers:
            return [] if all(least <= 0 <= most for _, least, most in self.rows) else None
        import highspy

        solver = self._solver or self._load()
        solver.changeColsCost(
            len(self.uppers),
            list(range(len(self.uppers))),
            [float(objective.get(column, 0)) * sense for column in range(len(self.uppers))],
        )
        solver.run()
        status = solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            said = solver.modelStatusToString(status)
            raise CouldNotTell(f"The solver found no answer for the GPUs: {said}.")
        return [round(value) for value in solver.getSolution().col_value]

    def keep(self, objective: Terms, values: list[int]) -> int:
        """Hold ``objective`` at what ``values`` give, from now on; that sum."""
        total = round(sum(factor * values[column] for column, factor in objective.items()))
        self.row(objective, total, total)
        return total

    def _load(self) -> Any:
        import highspy

        solver = highspy.Highs()
        for name, value in _options():
            solver.setOptionValue(name, value)
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = len(self.uppers), len(self.rows)
        program.col_cost_ = [0.0] * len(self.uppers)
        program.col_lower_ = [0.0] * len(self.uppers)
        program.col_upper_ = [float(upper) for upper in self.uppers]
        program.row_lower_ = [least for _, least, _ in self.rows]
        program.row_upper_ = [most for _, _, most in self.rows]
        starts = [0]
        columns: list[int] = []
        factors: list[float] = []
        for terms, _, _ in self.rows:
            columns += terms.keys()
            factors += terms.values()
            starts.append(len(columns))
        matrix = program.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kRowwise
        matrix.start_, matrix.index_, matrix.value_ = starts, columns, [float(factor) for factor in factors]
        program.integrality_ = [highspy.HighsVarType.kInteger] * len(self.uppers)
        solver.passModel(program)
        self._solver = solver
        return solver

    def _add(self, row: tuple[dict[int, float], float, float]) -> None:
        terms, least, most = row
        self._solver.addRow(
            least, most, len(terms), list(terms), [float(factor) for factor in terms.values()]
        )


def _options() -> Iterable[tuple[str, object]]:
    """One thread and a fixed seed: the same input has the same answer."""
    yield "output_flag", False
    yield "threads", 1
    yield "random_seed", 0
    yield "mip_rel_gap", 0.0
    yield "mip_abs_gap", 0.9
