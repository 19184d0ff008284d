"""What `ps`, `up` and `plan` draw on a terminal of eighty columns."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ai_how.cli import ps
from ai_how.cli.output import PlanProgress, _Printer
from ai_how.site.model import Action, Step

MODEL = "SmolLM2-135M-Instruct"
SHOWN: dict[str, Any] = {
    "models": [
        {
            "model": MODEL, "state": "ready", "stopped": False, "min": 0, "max": 3, "replicas_wanted": 2,
            "version": "a", "canary": {"source": "SmolLM2-360M@champion", "weight": 10}, "registry_version": "12",
            "source": f"hf:HuggingFaceTB/{MODEL}", "asked_by": "command", "reason": "the engine is loading it",
            "log_tail": "",
        }
    ],
    "replicas": [
        {
            "model": MODEL, "phase": "pending", "draining": None, "version": "a", "job_id": 12346, "node": "",
            "ends": None, "requests": 0, "leaving": None, "reason": "ReqNodeNotAvail, Reserved for maintenance",
        }
    ],
}  # fmt: skip


def terminal(width: int) -> tuple[_Printer, io.StringIO]:
    file = io.StringIO()
    made = _Printer(
        file=file, width=width, force_terminal=True, color_system=None, highlight=False, soft_wrap=True
    )
    return made, file


@pytest.mark.parametrize("width", [80, 120])
def test_ps_cuts_no_name_short(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console, file = terminal(width)
    monkeypatch.setattr(ps, "out", console)
    ps._models(SHOWN)
    ps._replicas(SHOWN)
    lines = file.getvalue().split("\n")
    assert all(len(line) <= width for line in lines) and "…" not in file.getvalue()
    table, row = lines[0], lines[1:]
    begin, end = table.index("version"), table.index("asked by" if width == 120 else "reason")
    version = "".join(line[begin:end].strip() for line in row[: row.index(next(filter(_header, row)))])
    assert f"hf:HuggingFaceTB/{MODEL}" in version
    assert ("asked by" in table) is (width == 120)


def _header(line: str) -> bool:
    return line.startswith("replica of")


def test_a_step_of_up_tells_what_it_is_for_where_not_everything_fits() -> None:
    said = {}
    for width in (80, 120):
        console, file = terminal(width)
        step = Step(Action.CREATE, "slurmdbd", "it does not exist yet; keeps Slurm's accounting")
        progress = PlanProgress(console)
        progress.finished(step, 4.78)
        said[width] = file.getvalue().strip()
    assert said[80].endswith("4.78 s   keeps Slurm's accounting")
    assert said[120].endswith("4.78 s   it does not exist yet; keeps Slurm's accounting")
