"""What the gateway decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ai_how.run import SystemClock
from ai_how.security import TokenEntry
from ai_how.serving.gateway import dialect, plan
from ai_how.serving.gateway.dialect import Asked, openai, parse
from ai_how.serving.gateway.ledger import Ledger
from ai_how.serving.gateway.model import Refusal, Replica
from ai_how.serving.gateway.plan import Patience
from ai_how.serving.gateway.seats import Seat, Served
from ai_how.wire import ChatRequest, EndpointRecord

NOW, SINCE = 110.0, 80.0
PATIENCE = Patience(NOW, SINCE, until=410.0)


def replica(nonce: str, model: str = "tiny", heartbeat: float = 100.0) -> Replica:
    record = EndpointRecord(
        version="1.0", model=model, host="127.0.0.1", port=4000, job_id=1, nonce=nonce * 16, uid=0,
        engine="fake", started=heartbeat - 50, heartbeat=heartbeat,
    )  # fmt: skip
    return Replica(record, "secret")


A, SILENT = replica("a"), replica("b", heartbeat=60.0)


def served(*replicas: Replica, **route: Any) -> Served:
    seats = tuple(Seat(one) for one in replicas)
    known = min((one.record.started for one in replicas), default=0.0)
    return Served("tiny", seats, known=known, **{"routed": True, "state": "asleep", **route})


@pytest.mark.parametrize(
    ("one", "state", "had"),
    [
        (served(A, routed=False, state="ready"), "ready", True),
        (served(SILENT, routed=False, state="ready"), "starting", False),
        (served(A, state="ready"), "ready", True),
        (served(SILENT, state="ready"), "starting", True),
        (served(A, state="starting"), "ready", True),  # the record was here before the routes said so
        (served(state="starting"), "starting", True),
        (served(state="asleep", wakes=True), "asleep", True),
        (served(state="asleep"), "asleep", False),
        (served(state="failed", wakes=True), "failed", False),
    ],
)
def test_how_a_model_is_and_whether_it_can_be_had(one: Served, state: str, had: bool) -> None:
    assert (plan.condition(one, SINCE), plan.had(one, SINCE)) == (state, had)
    cards = plan.model_list([one], SINCE).data
    assert [(card.id, card.state) for card in cards] == ([("tiny", state)] if had else [])


@pytest.mark.parametrize(
    ("one", "code", "source", "retry", "words"),
    [
        (served(A, state="ready"), None, "", None, ""),
        (served(state="starting"), None, "", None, ""),
        (served(state="starting", expected=400.0), None, "", None, ""),
        (served(state="asleep", wakes=True), None, "", None, ""),
        (served(SILENT, routed=False, state="ready"), "no_ready_replica", "gateway", 5, "stopped answering"),
        (served(state="failed", reason="no GPU is free"), "model_failed", "scheduler", None, "no GPU is free"),
        (served(state="asleep"), "model_asleep", "scheduler", None, "does not start one"),
        (served(state="starting", expected=1000.5, reason="Priority"), "not_ready_yet", "scheduler", 891, "891 s (P"),
        (served(A, state="starting", expected=1000.5), None, "", None, ""),
    ],
)  # fmt: skip
def test_who_waits_and_who_is_told_to_come_again(
    one: Served, code: str | None, source: str, retry: int | None, words: str
) -> None:
    refusal = plan.wait_or_refuse(one, PATIENCE)
    if refusal is None:
        assert code is None
        return
    assert (refusal.status, refusal.code, refusal.source, refusal.retry_after) == (503, code, source, retry)
    assert words in refusal.message


def test_models_are_listed_in_order() -> None:
    other = Served("other", (Seat(replica("c", "other")),), known=50.0)
    assert [(card.id, card.created) for card in plan.model_list([served(A), other], SINCE).data] == [
        ("other", 50),
        ("tiny", 50),
    ]


def test_an_unknown_model_is_answered_with_those_there_are() -> None:
    refusal = plan.no_such("tinny", ["tiny", "other"])
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert refusal.message == (
        "The model 'tinny' does not exist. Did you mean 'tiny'? These models exist: other, tiny."
    )


def test_nothing_is_served() -> None:
    assert plan.no_such("tiny", []).message.endswith("No model is being served.")


@pytest.mark.parametrize(("expected", "retry"), [(None, 30), (NOW + 77.1, 78), (NOW - 5, 5)])
def test_who_waited_in_vain_learns_when_to_come_again(expected: float | None, retry: int) -> None:
    refusal = plan.waited_in_vain(served(expected=expected), "tiny", NOW, 300.0)
    assert (refusal.status, refusal.source, refusal.retry_after) == (503, "scheduler", retry)


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


PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
BODIES = (
    b'{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "input": ["hi"]}',
    b'{"model": "tiny", "messages": [], "prompt": [1], "input": "", "stream": true, "max_tokens": 7}',
    b'{"model": "tiny", "messages": [], "prompt": null, "input": {}, "max_completion_tokens": 0, "max_tokens": 9}',
    b'{"model": "tiny", "messages": [], "prompt": "", "input": {}, "stream": null}',
    b'{"model": "tiny", "messages": [], "prompt": "", "input": 1, "stream": "true", "max_output_tokens": "7"}',
    b'{"model": "tiny", "messages": [], "prompt": "", "input": 1, "stream": true,'
    b' "stream_options": {"include_usage": true}}',
    b'{"model": "tiny", "messages": [], "prompt": "", "input": 1, "stream": true, "stream_options": {"x": 1}}',
    b'{"model": "tiny", "messages": [], "prompt": "", "input": 1, "stream": true, "stream_options": null}',
    b'{"model": "tiny", "model": "other", "messages": [], "prompt": "", "input": 1}',
    b'{"model": "tiny", "messages": {}, "prompt": {}, "input": {}, "max_tokens": -1}',
    b'{"model": "tiny", "messages": "hi", "stream": 1, "max_tokens": true}',
    '{"model": "tiny", "messages": [{"content": "\u00e9\u20ac\U0001f600"}], "prompt": "\u00e9", '
    '"input": "\u00e9"}'.encode(),
    b'{"model": "tiny", "messages": ["\xff"], "prompt": "\xff", "input": "\xff"}',
    b'{"model": "tiny", "messages": ["\\ud800"], "prompt": "\\ud800", "input": "\\ud800"}',
    b'{"model": "\\ud800", "messages": [], "prompt": "", "input": ""}',
    b'{"model": 7, "messages": [], "prompt": "", "input": ""}',
    b'{"model": "tiny", "messages": [1,], "prompt": "", "input": ""}',
    b'{"model": "tiny", "messages": [NaN], "prompt": NaN, "input": NaN}',
    b'{"model": "tiny", "messages": [], "prompt": "", "input": ""} {}',
    b'[{"model": "tiny"}]',
    b'{"model": "tiny"}',
    b'{"model": "tiny", "messages": ' + b"[" * 5000 + b"]" * 5000 + b', "prompt": "", "input": ""}',
    b"",
    b"null",
)  # fmt: skip


def outcome(read: Callable[[str, bytes], Asked], path: str, body: bytes) -> object:
    try:
        asked = read(path, body)
    except Refusal as refusal:
        return refusal.status, refusal.message, refusal.param
    return asked.model, asked.body, asked.stream, asked.strips, asked.most, asked.tokens, repr(asked.said())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BODIES)
def test_a_request_that_is_read_the_quick_way_means_what_it_means_by_its_type(path: str, body: bytes) -> None:
    assert outcome(openai, path, body) == outcome(dialect._by_its_type, path, body)


@pytest.mark.parametrize("most", [2**63 - 1, 10**30])
def test_what_is_thought_to_be_written_has_an_end(most: int, tmp_path: Path) -> None:
    """However much a request asks for, it can be held, and does not end its token's budget for ever."""
    asked = openai("/v1/completions", b'{"model": "tiny", "prompt": "", "max_tokens": %d}' % most)
    entry = TokenEntry(name="a", sha256="0" * 64, created=1.0, tokens_per_day=1000)
    ledger = Ledger(tmp_path / "ledger", SystemClock())
    assert ledger.hold(entry, asked.tokens) is None
    assert ledger.spent(entry).today == asked.tokens < 2**21
    ledger.close()


def test_most_requests_are_read_the_quick_way() -> None:
    assert [path for path in PATHS if dialect._plain(path, BODIES[0])] == list(PATHS)
