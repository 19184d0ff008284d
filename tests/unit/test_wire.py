"""The types that travel."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ai_how.wire import ChatRequest, EndpointRecord, ErrorEnvelope

RECORD = {
    "version": "1.0",
    "model": "tiny",
    "host": "127.0.0.1",
    "port": 40000,
    "job_id": 7,
    "nonce": "ab" * 12,
    "uid": 1000,
    "engine": "llama.cpp",
    "started": 1.0,
    "heartbeat": 2.0,
}


def test_an_older_reader_takes_the_record_of_a_newer_launcher() -> None:
    assert EndpointRecord.model_validate({**RECORD, "slots": 4}).port == 40000


@pytest.mark.parametrize(
    "wrong", [{"port": 66044}, {"port": 0}, {"nonce": "../../etc/passwd"}, {"version": "2.0"}, {"model": ""}]
)
def test_a_record_that_cannot_be_true_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EndpointRecord.model_validate({**RECORD, **wrong})


def test_a_chat_request_keeps_what_it_does_not_know() -> None:
    asked = ChatRequest.model_validate_json('{"model": "a", "messages": [], "min_p": 0.1}')
    assert asked.model_dump()["min_p"] == 0.1


def test_an_engine_may_write_its_codes_as_numbers() -> None:
    envelope = ErrorEnvelope.model_validate_json('{"error": {"message": "no", "type": "t", "code": 400}}')
    assert envelope.error.code == "400"
