"""What `plan` and `up` tell of served models."""

from __future__ import annotations

from typing import Any

import pytest
from sample_replicas import ONE

from ai_how.serving.replicas import Desired, Scale
from ai_how.site.served import differences
from ai_how.spec.model import ServedModel

OLD = Desired(model="tiny", current=ONE, scale=Scale())


def model(**said: Any) -> ServedModel:
    same = {"name": "tiny", "source": ONE.reference, "context": ONE.context, "slots": ONE.slots}
    return ServedModel.model_validate({**same, **said})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"source": "other:2"}, f"other:2 instead of {ONE.reference}"),
        ({"context": 77}, f"context 77 instead of {ONE.context}"),
        ({"replicas": 3}, "replicas 3 instead of 1"),
        ({"replicas": {"min": 1, "max": 2}}, "replicas 1 to 2 instead of 1"),
        ({"canary": {"source": "other:3"}}, "a canary other:3"),
    ],
)
def test_what_is_other(said: dict[str, Any], why: str) -> None:
    assert [one.why for one in differences([model(**said)], {"tiny": OLD}, {})] == [why]


def test_what_is_as_it_was_new_stopped_or_gone() -> None:
    assert not list(differences([model()], {"tiny": OLD}, {}))
    assert [one.why for one in differences([model()], {}, {})] == [f"it is new: {ONE.reference}"]
    stopped = OLD.model_copy(update={"stopped": True})
    (back,) = differences([model()], {"tiny": OLD}, {"tiny": stopped})
    assert back.as_json() == {"model": "tiny", "why": "it was stopped by command, which is taken back"}
    (gone,) = differences([], {"tiny": OLD}, {})
    assert gone.model == "tiny" and "no more" in gone.why
