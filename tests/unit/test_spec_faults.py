"""The planted faults: each is answered with its own message at its own place, and with nothing else.

A fault is an edit of ``faults/base.yaml``: the text ``old``, which is there once, becomes ``new``; ``also`` lists
further edits that the fault needs. The sign « in ``new``, or in ``at``, stands before the place that must be told.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from ai_how.errors import Problem, SpecError
from ai_how.gpu.check import CHECKS
from ai_how.spec import parse
from ai_how.spec.check import Check

FOLDER = Path(__file__).parent / "faults"
BASE = (FOLDER / "base.yaml").read_text(encoding="utf-8")
DATA = yaml.safe_load(BASE)
SIGN = "«"


@dataclass(frozen=True)
class Fault:
    name: str
    edits: tuple[tuple[str, str], ...]
    says: str
    todo: str
    at: str

    def text(self) -> tuple[str, int, int]:
        """The file with the fault in it, and the line and column where it is."""
        text = BASE
        for old, new in self.edits:
            assert text.count(old) == 1, f"{self.name}: {old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        if self.at:
            bare = self.at.replace(SIGN, "")
            assert SIGN not in text and text.count(bare) == 1, f"{self.name}: {bare!r}"
            text = text.replace(bare, self.at)
        place = text.index(SIGN)
        line = text.count("\n", 0, place) + 1
        return text.replace(SIGN, ""), line, place - text.rfind("\n", 0, place)


def corpus() -> list[Fault]:
    found = []
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name == "base.yaml":
            continue
        for number, facts in enumerate(yaml.safe_load(file.read_text(encoding="utf-8")), start=1):
            edits = ((facts["old"], facts["new"]), *map(tuple, facts.get("also", ())))
            name = f"{file.stem}-{number}: {facts['says'][:50]}"
            found.append(Fault(name, edits, facts["says"], facts.get("todo", ""), facts.get("at", "")))
    return found


CORPUS = corpus()


def told(text: str, also: tuple[Check, ...] = ()) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        parse(text, also=also)
    return caught.value.problems


def test_the_base_has_no_mistake() -> None:
    parse(BASE, also=CHECKS)


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(CORPUS) >= 80
    assert len({fault.says for fault in CORPUS}) >= 80
    assert len({fault.edits for fault in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("fault", CORPUS, ids=lambda fault: fault.name)
def test_a_fault_is_answered_with_its_own_message_at_its_own_place(fault: Fault) -> None:
    text, line, column = fault.text()
    # The planner is asked where it could have something to say: it takes a while.
    problems = told(text, CHECKS if fault.name.startswith("gpus") else ())
    assert [problem.message for problem in problems] == [fault.says]
    assert problems[0].where == f"cluster.yaml:{line}:{column}"
    assert fault.todo in (problems[0].todo or "")
    if problems[0].link:
        assert problems[0].link in ANCHORS


def readable(fault: Fault) -> bool:
    """Whether the rest of the file can still be read with this fault in it."""
    return not re.search(r"YAML|a tab|alias|second document|a key is", fault.says)


def test_faults_that_do_not_touch_each_other_are_all_told_at_once() -> None:
    """Of each file of the corpus some, drawn by a fixed chance, so that they are in parts far from each other."""
    chance = random.Random(3)
    by_file: dict[str, list[Fault]] = {}
    for fault in CORPUS:
        if readable(fault) and not fault.at:
            by_file.setdefault(fault.name.split("-")[0], []).append(fault)
    together = strange = 0
    for _ in range(200):
        first, second = (chance.choice(by_file[name]) for name in chance.sample(sorted(by_file), 2))
        text = BASE
        if not all(text.count(old) == 1 for old, _ in first.edits):
            continue
        for old, new in first.edits:
            text = text.replace(old, new)
        if not all(text.count(old) == 1 for old, _ in second.edits):
            continue
        for old, new in second.edits:
            text = text.replace(old, new)
        said = {problem.message for problem in told(text.replace(SIGN, ""))}
        strange += not (said and said <= {first.says, second.says})
        together += len(said) == 2
    # One may keep the other from being looked for; and two in one thing may sound otherwise than each alone.
    assert together > 150 and strange <= 2


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in the file."""
    for key, inner in (
        data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    ):
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(path: tuple[Any, ...]) -> Iterator[str]:
    """The base with one value taken away, emptied, or made another of its kind."""
    for change in ("remove", "empty", "other"):
        data = copy.deepcopy(DATA)
        holder = data
        for part in path[:-1]:
            holder = holder[part]
        value = holder[path[-1]]
        if change == "remove":
            del holder[path[-1]]
        elif change == "empty":
            holder[path[-1]] = None
        else:
            holder[path[-1]] = (
                not value
                if isinstance(value, bool)
                else value + 1
                if isinstance(value, int)
                else f"{value}x"[:40]
            )
        yield json.dumps(data)


@pytest.mark.parametrize(
    "part", ["metadata", "global", "clusters", "serving", "security", "monitoring", "backup"]
)
def test_one_change_is_answered_with_one_message_at_most(part: str) -> None:
    for path in places(DATA):
        # Without its list of QOS, two that are named elsewhere are missing.
        if path[0] != part or path == ("clusters", "hpc", "slurm_config", "qos"):
            continue
        for text in changed(path):
            try:
                parse(text)
            except SpecError as error:
                assert len(error.problems) == 1, (path, [problem.message for problem in error.problems])


def generated() -> ModuleType:
    found = importlib.util.spec_from_file_location(
        "docs_generate", Path(__file__).parents[2] / "docs/generate.py"
    )
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def anchors() -> frozenset[str]:
    page = generated().cluster_yaml()
    return frozenset(["reference/cluster-yaml.html", *(
        f"reference/cluster-yaml.html#{anchor}" for anchor in re.findall(r"\{#(\S+)\}", page)
    )])  # fmt: skip


ANCHORS = anchors()
