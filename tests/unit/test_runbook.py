"""The runbook knows every refusal of the gateway, every state, and no figure that is not there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ai_how.serving.gateway.metrics import Gauge, Metrics
from ai_how.serving.replicas.model import Phase
from ai_how.wire.routes import ModelState

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "src" / "ai_how" / "serving" / "gateway"
RUNBOOK = (ROOT / "docs" / "how-to" / "runbook.md").read_text()
#: Where a refusal's code stands among the arguments.
MAKERS = {"Refusal": 3, "_unavailable": 1}


def refusals() -> Iterator[tuple[str, ast.Call, int]]:
    """Every call that makes a refusal, and where the code stands in it."""
    for file in sorted(GATEWAY.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                if name in MAKERS:
                    yield f"{file.name}:{node.lineno}", node, MAKERS[name]


def codes() -> dict[str, str]:
    """Every code that the source names, with a place."""
    found = {}
    for where, call, position in refusals():
        named = [word.value for word in call.keywords if word.arg == "code"] or call.args[
            position : position + 1
        ]
        for node in named:
            choices = (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)
            for choice in choices:
                if isinstance(choice, ast.Constant):
                    found[str(choice.value)] = where
    return found


def test_the_source_tells_its_codes() -> None:
    """The test sees what it should: known codes are among them, and few calls leave theirs to a variable."""
    assert {"budget_spent", "queue_full", "replica_broke_off", "invalid_api_key"} <= set(codes())
    assert len(codes()) >= 20


def test_every_code_of_the_gateway_stands_in_the_runbook() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", RUNBOOK, re.MULTILINE))
    missing = {code: where for code, where in codes().items() if code not in rows}
    assert not missing, f"docs/how-to/runbook.md says nothing of {missing}"
    assert not set(rows) - set(codes()), "the runbook has codes that the gateway has not"


def test_every_code_stands_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "gateway-api.md").read_text()
    listed = {code for _, code in re.findall(r"^\| ([\d, ]+) \| `(\w+)` \|", page, re.MULTILINE)}
    assert set(codes()) <= listed


@pytest.mark.parametrize("state", [*get_args(ModelState), *(phase.value for phase in Phase)])
def test_every_state_stands_in_the_runbook(state: str) -> None:
    assert f"`{state}`" in RUNBOOK


def test_every_figure_of_the_alarms_is_there() -> None:
    named = set(re.findall(r"ai_how_gateway_[a-z_]+", RUNBOOK))
    gauges = [Gauge(name, "", ("model",), {("m",): 1.0}) for name in gauge_names()]
    page = Metrics().page(gauges, lambda model: True).decode()
    told = set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE))
    assert list(text_string_to_metric_families(page))
    bare = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in told}
    assert {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in named} <= bare


def gauge_names() -> list[str]:
    text = "".join(file.read_text() for file in GATEWAY.glob("*.py"))
    return re.findall(r'Gauge\(\s*"(\w+)"', text)
