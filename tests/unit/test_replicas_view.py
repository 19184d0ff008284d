"""What the gateway is told of a model, and what it says of its load."""

from __future__ import annotations

import pytest
from sample_replicas import NOW, ONE, TWO, Job, status

from ai_how.serving.replicas import Desired, Phase, ReplicaStatus, Scale
from ai_how.serving.replicas.decide import Observed
from ai_how.serving.replicas.demand import loads, requests
from ai_how.serving.replicas.desired import Told
from ai_how.serving.replicas.scaling import Load, ModelMemory, expected
from ai_how.serving.replicas.view import Heard, ModelView, drained, model_routes, views
from ai_how.wire.routes import Demand, ModelDemand


def view(desired: Desired, replicas: list[ReplicaStatus], memory: ModelMemory, now: float = NOW) -> ModelView:
    (one,) = views({"tiny": Told(desired, "file")}, Observed(replicas), {"tiny": memory}, now)
    return one


WANTED = Desired(model="tiny", current=ONE)
SLEEPY = WANTED.model_copy(update={"scale": Scale(minimum=0, idle=60.0)})


@pytest.mark.parametrize(
    ("desired", "replicas", "memory", "state", "reason", "wakes"),
    [
        (WANTED, [status(1)], ModelMemory(target=1), "ready", "", True),
        (WANTED, [], ModelMemory(target=1), "starting", "it is being asked for", True),
        (WANTED, [status(1, Phase.PENDING, reason="Resources")], ModelMemory(target=1), "starting", "Resources", True),
        (WANTED, [status(1, draining=NOW)], ModelMemory(target=1), "starting", "it is being asked for", True),
        (WANTED, [], ModelMemory(target=1, failed="it broke"), "failed", "it broke", False),
        # One that answers is asked, whatever became of the others.
        (WANTED, [status(1)], ModelMemory(target=2, failed="it broke"), "ready", "", True),
        (SLEEPY, [], ModelMemory(target=0), "asleep", "nobody asks for it", True),
        (Desired(model="tiny", fault="it is not there"), [], ModelMemory(), "failed", "it is not there", False),
        (WANTED.model_copy(update={"stopped": True}), [], ModelMemory(), "asleep",
         "stopped by command; `ai-how serve` or `ai-how up` takes that back", False),
    ],
)  # fmt: skip
def test_how_a_model_is(
    desired: Desired, replicas: list[ReplicaStatus], memory: ModelMemory, state: str, reason: str, wakes: bool
) -> None:
    (route,) = model_routes([view(desired, replicas, memory)])
    assert (route.state, route.reason, route.wakes) == (state, reason, wakes)


def test_only_those_that_answer_are_in_the_routes() -> None:
    replicas = [
        status(1),
        status(2, Phase.LOADING),
        status(3, Phase.PENDING),
        status(4, draining=NOW, leaving="x"),
    ]
    (route,) = model_routes([view(WANTED, replicas, ModelMemory(target=3))])
    assert [(int(one.nonce, 16), one.draining) for one in route.replicas] == [(1, False), (4, True)]


def test_a_canarys_weight_is_that_of_its_version_not_of_a_replica() -> None:
    desired = WANTED.model_copy(update={"canary": TWO, "canary_weight": 10})
    replicas = [status(1), status(2), status(3), status(4, of=TWO)]
    (route,) = model_routes([view(desired, replicas, ModelMemory(target=3))])
    assert [one.weight for one in route.replicas] == [30, 30, 30, 10]
    # The only one there is gets everything.
    (route,) = model_routes([view(desired, [status(4, of=TWO)], ModelMemory(target=3))])
    assert [one.weight for one in route.replicas] == [1]


def test_when_a_replica_is_expected_does_not_change_with_every_look() -> None:
    memory = ModelMemory(loads=(40.0,), waits=(20.0,))
    assert expected(memory, [NOW + 100], NOW) == NOW + 140
    assert expected(memory, [], NOW) is None
    late = {expected(memory, [NOW - 100], NOW + second) for second in range(10)}
    assert len(late) <= 2 and all(when is not None and NOW < when <= NOW + 30 for when in late)
    pending = status(1, Phase.PENDING, job=Job(1, state="PENDING"), submitted=NOW)
    asked = [
        view(WANTED, [pending], ModelMemory(target=1, loads=(40.0,), waits=(20.0,)), NOW + s) for s in (1, 9)
    ]
    assert [one.expected for one in asked] == [NOW + 60, NOW + 60]
    assert view(SLEEPY, [], ModelMemory(target=0)).expected is None


def heard(worker: str, at: float = 100.0, **facts: object) -> Heard:
    return Heard(Demand.model_validate({"worker": worker, "generation": 5, "at": NOW, **facts}), at)


def test_the_load_of_all_workers_together() -> None:
    workers = [
        heard("a", models={"tiny": ModelDemand(waiting=1, active=2, tokens=30)}, asked={"tiny": NOW}),
        heard("b", models={"tiny": ModelDemand(waiting=4, active=1, tokens=5)}, asked={"tiny": NOW - 9}),
        # Silent for a while: it holds nothing, but what it said of the past is true.
        heard("c", at=90.0, models={"tiny": ModelDemand(active=9)}, asked={"other": NOW - 20}),
    ]
    assert loads(workers, 101.0) == {"tiny": Load(5, 3, 35, NOW), "other": Load(0, 0, 0, NOW - 20)}
    assert requests([heard("a", replicas={"n": 2}), heard("b", replicas={"n": 1})], 101.0) == {"n": 3}


NONCE = "ab" * 12
BUSY = {"models": {"tiny": ModelDemand(active=1)}}


@pytest.mark.parametrize(
    ("workers", "age", "empty"),
    [
        ([], 2.0, True),
        ([], 0.5, False),
        ([heard("a", **BUSY, replicas={NONCE: 1})], 30.0, False),
        ([heard("a", **BUSY)], 2.0, True),
        # It has chosen by older routes, and may have chosen this one since.
        ([heard("a", generation=4, **BUSY)], 2.0, False),
        ([heard("a", generation=4)], 2.0, True),
        # Gone: it would have told of itself.
        ([heard("a", at=90.0, **BUSY, replicas={NONCE: 1})], 2.0, True),
        ([heard("a", **BUSY), heard("b", **BUSY, replicas={NONCE: 1})], 2.0, False),
    ],
)
def test_when_a_replica_that_drains_is_empty(workers: list[Heard], age: float, empty: bool) -> None:
    assert drained(NONCE, 5, age, workers, 101.0) is empty
