"""Who gets a request, and who waits: tables of the decisions that the gateway takes for each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ai_how.serving.gateway import plan
from ai_how.serving.gateway.balance import Choice, beginnings, free, lean, least, turn
from ai_how.serving.gateway.demand import summary
from ai_how.serving.gateway.model import Replica
from ai_how.serving.gateway.queue import FairQueue
from ai_how.serving.gateway.seats import NEVER, Seat, join, limit
from ai_how.wire import EndpointRecord, ModelDemand, ModelRoute, ReplicaRoute, Routes


def replica(
    letter: str, model: str = "tiny", *, heartbeat: float = 100.0, slots: int | None = None
) -> Replica:
    record = EndpointRecord(
        version="1.0", model=model, host="127.0.0.1", port=4000, job_id=1, nonce=letter * 16, uid=0, engine="fake",
        started=heartbeat - 50, heartbeat=heartbeat, slots=slots,
    )  # fmt: skip
    return Replica(record, "secret")


def seat(
    letter: str, tokens: int = 0, requests: int = 0, *, turn: int = 0, failed: float = NEVER, weight: float = 1.0,
    heartbeat: float = 100.0, slots: int | None = None,
) -> Seat:  # fmt: skip
    one = Seat(replica(letter, heartbeat=heartbeat, slots=slots), weight)
    one.tokens, one.requests, one.turn, one.failed = tokens, requests, turn, failed
    return one


def letters(seats: list[Seat]) -> str:
    return "".join(one.nonce[0] for one in seats)


@pytest.mark.parametrize(
    ("seats", "tried", "found"),
    [
        ([seat("a"), seat("b")], "", "ab"),
        ([seat("a", heartbeat=79.0), seat("b")], "", "b"),  # silent
        ([seat("a", requests=4, slots=2), seat("b", requests=3, slots=2)], "", "b"),  # at its limit
        ([seat("a", failed=101.0), seat("b")], "", "b"),
        ([seat("a", failed=101.0)], "", "a"),  # doubtful, but there is no other
        ([seat("a", failed=101.0)], "a", ""),  # not twice by the same request
        ([seat("a", failed=99.0)], "a", "a"),  # unless it has shown since that it lives
        ([], "", ""),
    ],
)
def test_who_can_take_another_request(seats: list[Seat], tried: str, found: str) -> None:
    assert letters(free(seats, since=80.0, tried=[letter * 16 for letter in tried])) == found


@pytest.mark.parametrize(
    ("slots", "workers", "most"), [(None, 1, 256), (1, 1, 2), (4, 1, 8), (4, 3, 4), (1, 9, 1)]
)
def test_an_engine_gets_no_more_than_is_of_use(slots: int | None, workers: int, most: int) -> None:
    assert limit(slots, workers) == most


@pytest.mark.parametrize(
    ("seats", "first"),
    [
        ([seat("a", tokens=10), seat("b", tokens=9, requests=5)], "b"),
        ([seat("a", requests=2), seat("b", requests=1)], "b"),
        ([seat("a", turn=7), seat("b", turn=6)], "b"),
        ([seat("a"), seat("b")], "a"),
    ],
)
def test_the_least_busy_comes_first(seats: list[Seat], first: str) -> None:
    assert least(seats).nonce[0] == first


@pytest.mark.parametrize(
    ("had", "other", "last", "chosen"),
    [
        (seat("a"), seat("b"), None, "a"),
        (seat("a", tokens=8000, requests=2), seat("b"), "a", "a"),
        (seat("a", tokens=9000, requests=2), seat("b"), "a", "b"),  # much busier by tokens
        (seat("a", tokens=10, requests=3), seat("b"), "a", "b"),  # or by requests
        (seat("a", tokens=10, requests=1, slots=1), seat("b", slots=1), "a", "b"),  # the other is idle
        (seat("a", tokens=10, requests=1, slots=2), seat("b", slots=2), "a", "a"),
        (seat("a", tokens=10), seat("b"), "gone", "b"),
    ],
)
def test_a_beginning_is_followed_within_bounds(had: Seat, other: Seat, last: str | None, chosen: str) -> None:
    assert lean([had, other], last * 16 if last else None).nonce[0] == chosen


def test_weights_are_shared_out_smoothly_and_always_alike() -> None:
    current: dict[float, float] = {}
    found = []
    for _ in range(12):
        picked, current = turn(current, {3.0: 3.0, 1.0: 1.0})
        found.append(picked)
    assert found == [3.0, 3.0, 1.0, 3.0] * 3


def test_a_canary_gets_its_share_and_the_others_theirs_evenly() -> None:
    """Two replicas of weight 1 and a canary of 0.5: a fifth of every stretch of requests, whatever was said before."""
    seats, choice, found = [seat("a"), seat("b"), seat("c", weight=0.5)], Choice(), []
    for _ in range(100):
        found.append(choice.of(seats, beginnings("the same words"), mixed=True).nonce[0])
    assert Counter(found) == {"a": 40, "b": 40, "c": 20}
    assert all(found[start : start + 5].count("c") == 1 for start in range(0, 100, 5))


def test_a_conversation_stays_where_its_beginning_is() -> None:
    seats, choice = [seat("a"), seat("b")], Choice()
    talks: dict[str, list[dict[str, str]]] = {name: [{"role": "user", "content": name}] for name in "xyz"}
    first = {name: choice.of(seats, beginnings(talk), mixed=False).nonce for name, talk in talks.items()}
    assert len(set(first.values())) == 2
    for _ in range(3):
        for name, talk in talks.items():
            talk += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "and?"}]
            assert choice.of(seats, beginnings(talk), mixed=False).nonce == first[name]


def test_of_two_hundred_replicas_all_are_used_alike_and_the_busy_ones_spared() -> None:
    seats, choice = [seat(f"{number:04x}") for number in range(200)], Choice()
    for one in seats[:100]:
        one.tokens = 1000
    for _ in range(400):
        chosen = choice.pick(seats, (), since=0.0)
        assert chosen is not None
        chosen.tokens += 100
        chosen.requests += 1
    given = [one.requests for one in seats]
    assert sum(given[:100]) < 20 and max(given) <= 6 and min(given[100:]) >= 2
    for one in seats[1:]:
        one.requests = one.limit
    assert choice.pick(seats, (), since=0.0) is seats[0]
    assert choice.pick(seats, (), since=200.0) is None


def test_beginnings() -> None:
    one, two = {"role": "user", "content": "a"}, {"role": "user", "content": "b"}
    assert beginnings([one, two])[0] == beginnings([one])[0] == beginnings([one, one])[0]
    assert beginnings([one, two])[1] != beginnings([one, one])[1]
    assert beginnings([{**one, "role": "system"}]) != beginnings([one])
    picture: Any = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x" * 100}}]}
    assert len(beginnings([picture])) == 1 and beginnings([picture]) != beginnings([one])
    assert len(beginnings("x" * 9000)) == 3 and beginnings("x" * 9000)[0] == beginnings("x" * 5000)[0]
    assert len(beginnings([one] * 100)) == 16
    for odd in (None, 7, [None, 7, {"content": 5}], {"a": 1}):
        assert len(beginnings(odd)) == (3 if isinstance(odd, list) else 0)


def route(model: str, *replicas: ReplicaRoute, **facts: Any) -> ModelRoute:
    return ModelRoute(model=model, **{"state": "ready", **facts}, replicas=replicas)


def test_routes_and_records_are_joined() -> None:
    """Asked is who stands in the routes, has a record of that model, a weight, and does not drain."""
    records = [replica(letter) for letter in "abcd"] + [replica("e", "other")]
    routes = Routes(
        generation=3,
        models=(
            route(
                "tiny",
                ReplicaRoute(nonce="a" * 16, weight=0.5),
                ReplicaRoute(nonce="b" * 16, draining=True),
                ReplicaRoute(nonce="c" * 16, weight=0),
                ReplicaRoute(nonce="e" * 16),
                ReplicaRoute(nonce="f" * 16),
            ),
            route("asleep", state="asleep", wakes=True, expected=5.0),
        ),
    )
    seats: dict[str, Seat] = {}
    models = join(routes, records, seats)
    assert {name: letters(list(one.seats)) for name, one in models.items()} == {"tiny": "a", "asleep": ""}
    assert (models["asleep"].wakes, models["asleep"].expected, models["tiny"].known) == (True, 5.0, 50.0)
    assert seats["a" * 16].weight == 0.5


def test_without_routes_everybody_with_a_record_is_asked() -> None:
    models = join(None, [replica("b"), replica("a"), replica("e", "other")], {})
    assert {name: letters(list(one.seats)) for name, one in models.items()} == {"other": "e", "tiny": "ab"}
    assert not models["tiny"].routed and not models["tiny"].mixed


def test_a_seat_lasts_as_long_as_its_record_or_its_last_request() -> None:
    seats: dict[str, Seat] = {}
    join(None, [replica("a"), replica("b")], seats)
    kept, busy = seats["a" * 16], seats["b" * 16]
    busy.requests = 1
    join(None, [replica("a", heartbeat=105.0)], seats)
    assert seats["a" * 16] is kept and kept.heartbeat == 105.0 and seats["b" * 16] is busy
    busy.requests = 0
    join(None, [replica("a")], seats)
    assert list(seats) == ["a" * 16]


def test_everybody_in_turn_and_each_by_the_order_of_coming() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.push(item[0], item)
    assert (len(queue), queue.of("a"), queue.of("x")) == (6, 3, 0)
    queue.remove("b", "b1")
    queue.remove("b", "b1")
    assert queue.first() == "a1"
    assert queue.drain() == ["a1", "b2", "c1", "a2", "a3"]
    assert len(queue) == 0
    with pytest.raises(IndexError):
        queue.pop()


def test_a_queue_of_a_hundred_thousand_is_as_quick_as_one_of_ten() -> None:
    queue: FairQueue[int] = FairQueue()
    for item in range(100_000):
        queue.push(str(item % 3), item)
    assert queue.drain()[:4] == [0, 1, 2, 3]


def test_the_load_is_told_by_model_and_by_replica() -> None:
    busy, other = seat("a", tokens=300, requests=2), seat("b", tokens=5, requests=1)
    models, replicas = summary([busy, other, seat("c")], {"tiny": 4, "asleep": 1, "none": 0})
    assert models == {
        "tiny": ModelDemand(waiting=4, active=3, tokens=305),
        "asleep": ModelDemand(waiting=1),
    }
    assert replicas == {"a" * 16: 2, "b" * 16: 1}


def test_refusals_of_the_queue() -> None:
    assert (plan.queue_full("m", 5).status, plan.queue_full("m", 5).source) == (503, "gateway")
    assert plan.too_many_waiting("m", 5).status == 429 and plan.too_many_waiting("m", 5).retry_after
