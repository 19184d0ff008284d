"""What the gateway decides."""

from __future__ import annotations

import pytest

from ai_how.serving.gateway import plan
from ai_how.serving.gateway.dialect import parse
from ai_how.serving.gateway.model import Refusal, Replica
from ai_how.wire import ChatRequest, EndpointRecord


def replica(nonce: str, model: str = "tiny", heartbeat: float = 100.0) -> Replica:
    record = EndpointRecord(
        version="1.0", model=model, host="127.0.0.1", port=4000, job_id=1, nonce=nonce * 16, uid=0,
        engine="fake", started=heartbeat - 50, heartbeat=heartbeat,
    )  # fmt: skip
    return Replica(record, "secret")


A, B, C = replica("a"), replica("b"), replica("c", model="other")


def test_a_silent_replica_gets_no_requests() -> None:
    assert plan.ready([A, replica("b", heartbeat=60.0)], now=110.0, stale_after=30.0) == (A,)


def test_the_least_busy_is_asked_first() -> None:
    assert plan.candidates([A, B, C], "tiny", {A.record.nonce: 2, B.record.nonce: 1}, {}) == (B, A)


def test_one_that_failed_comes_last_until_it_shows_that_it_lives() -> None:
    assert plan.candidates([A, B], "tiny", {B.record.nonce: 9}, {A.record.nonce: 101.0}) == (B, A)
    assert plan.candidates([A, B], "tiny", {B.record.nonce: 9}, {A.record.nonce: 99.0}) == (A, B)


def test_models_are_listed_once() -> None:
    assert [(card.id, card.created) for card in plan.model_list([A, B, C]).data] == [
        ("other", 50),
        ("tiny", 50),
    ]


def test_an_unknown_model_is_answered_with_those_there_are() -> None:
    refusal = plan.no_replica("tinny", [A, C], [A, C])
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert refusal.message == (
        "The model 'tinny' does not exist. Did you mean 'tiny'? These models exist: other, tiny."
    )


def test_nothing_is_served() -> None:
    assert plan.no_replica("tiny", [], []).message.endswith("No model is being served.")


def test_a_model_whose_replicas_went_silent_is_not_unknown() -> None:
    refusal = plan.no_replica("tiny", [A], [])
    assert (refusal.status, refusal.code, refusal.retry_after) == (503, "no_ready_replica", 5)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"not json", None),
        (b'{"messages": []}', "model"),
        (b'{"model": "a"}', "messages"),
        (b'{"model": "a", "messages": "my secret prompt"}', "messages"),
        (b'{"model": 7, "messages": []}', "model"),
    ],
)
def test_a_bad_request_says_where_and_never_repeats_itself(body: bytes, param: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        parse(body, ChatRequest)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert "secret prompt" not in caught.value.message


def test_a_replica_never_shows_its_secret() -> None:
    assert "secret" not in repr(A)
