"""What targets share that are measured by a program of ours: a question in a file, an answer in another."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.targets.driven import PROBES, python_of
from ai_how.bench.targets.fio import working_folder
from ai_how.bench.targets.job import runner
from ai_how.errors import CouldNotTell
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe

Judge = Callable[[Mapping[str, Any]], Measured]


def probed(
    recipe: BenchRecipe,
    place: Place,
    name: str,
    question: Mapping[str, Any],
    judge: Judge,
    *,
    folder: str | None = None,
    environment: str | None = None,
    timeout: float = 3600.0,
) -> Measured:
    """Run the program ``name`` on a question, in a job where the recipe asks for one, and judge what it answers.

    ``folder`` is where it works; ``environment`` the runtime environment that it needs, if any. Raises
    :class:`CommandFailed` with what it said, and :class:`CouldNotTell` for an answer that is none.
    """
    python = python_of(place, environment) if environment else sys.executable
    with working_folder(folder, recipe, place) as own:
        asked, answer = own / "asked.json", own / "answer.json"
        asked.write_text(json.dumps({**question, "folder": str(own)}), encoding="utf-8")
        words = (python, str(PROBES / f"{name}.py"), str(asked), str(answer))
        ran = runner(place, recipe.target.job, recipe.name)(Command(words, cwd=PROBES, timeout=timeout))
        try:
            found = judge(json.loads(answer.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise CouldNotTell(
                f"the answer of {name}.py is not what it should be",
                cause=repr(error),
                detail=ran.done.tail() or None,
            ) from error
    return Measured(**{**vars(found), "notes": {**found.notes, "job": ran.job, "node": ran.node}})
