"""A train recipe under measurement: dealt out to nodes, started as `ai-how train` does it, judged by its own times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.bench.interfaces import Place, Script
from ai_how.bench.targets.training import arguments, found, judge, launch, nodes_of
from ai_how.bench.targets.web import model_service
from ai_how.bench.work import Address
from ai_how.cli.bench import _script
from ai_how.errors import CouldNotTell, UsageError
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench
from ai_how.spec.bench_workloads import Training
from ai_how.spec.recipe import Resources

SCRIPT = Script((Path("r"), Path("s")), "train.py", {"epochs": 3, "batch-size": 32, "amp": True}, "torch")


def test_processes_take_as_few_nodes_as_hold_them() -> None:
    two, eight = Resources(nodes=2), Resources(nodes=2, tasks_per_node=4)
    assert [nodes_of(count, two) for count in (1, 2)] == [1, 2]
    assert [nodes_of(count, eight) for count in (1, 4, 8)] == [1, 1, 2]
    assert nodes_of(4, None) == 1
    with pytest.raises(UsageError, match="5 processes cannot be dealt out to 2 nodes"):
        nodes_of(5, eight)


def test_each_node_starts_its_share_as_a_job_of_the_recipe_does() -> None:
    text = launch("/env/bin/python", SCRIPT, ["--epochs", "9"], 8, 2, by_srun=True)
    assert "--nnodes=2 --nproc-per-node=4" in text and "train.py --epochs 9" in text
    assert "scontrol show hostnames" in text and text.rstrip().endswith('"$master" "$port"')
    here = launch("/env/bin/python", SCRIPT, [], 2, 1, by_srun=False)
    assert "srun" not in here and "--standalone" in here


def test_the_recipe_keeps_its_arguments_but_what_is_asked_otherwise() -> None:
    assert arguments(Training(), SCRIPT) == {"epochs": 1_000_000, "batch-size": 32, "amp": True}
    assert arguments(Training(batch=8), SCRIPT)["batch-size"] == 8
    assert _script("digits").script == "train.py" and _script("digits").environment == "torch"
    with pytest.raises(UsageError, match="cannot be measured") as caught:
        _script("exact-match")
    assert caught.value.cause == "it is no training"
    with pytest.raises(UsageError, match="no train recipe is known here"):
        found(Training(), Place(LocalGate(), Path()))


def answer(processes: int, *times: float) -> dict[str, Any]:
    return {"times": list(times), "world_size": processes, "device": "cpu", "version": "2", "parameters": 5}


def test_efficiency_is_what_more_processes_keep_of_the_time_of_a_step() -> None:
    found = judge([answer(1, 0.1, 0.1), answer(2, 0.125, 0.125)], Training(), 32, {})
    assert found.values["efficiency.2"].value == pytest.approx(0.8)
    assert found.values["samples.1"].value == pytest.approx(320)
    assert found.values["samples.2"].value == pytest.approx(512)
    assert found.sent == found.good == 4
    assert "samples.1" not in judge([answer(1, 1), answer(2, 1)], Training(), None, {}).values


@pytest.mark.parametrize(
    "answers", [[answer(1, 0.1), answer(1, 0.1)], [answer(1, 0.1), {}], [answer(1, 0.1), answer(2)]]
)
def test_what_is_no_measurement_is_told(answers: list[dict[str, Any]]) -> None:
    with pytest.raises(CouldNotTell):
        judge(answers, Training(), 32, {})


def test_a_service_of_its_own_needs_a_site() -> None:
    text = 'version: "1.0"\nkind: bench\nname: x\ntarget: {api: openai, model: m, deploy: {source: a.gguf}}\n'
    recipe = parse_bench(text, "x.yaml")
    with pytest.raises(UsageError, match="no site here that could serve it"):
        model_service(recipe, Place(LocalGate(), Path(), Address("127.0.0.1", 1)))
