"""What is wanted of a model, by file and by command: said, changed, tried, taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_replicas import NOW, ONE, TWO

from ai_how.errors import NotFound, UsageError
from ai_how.serving.engines import ENGINES, Place
from ai_how.serving.replicas import Desired, ModelVersion, ReplicaResources, Scale, SiteFolders, Store
from ai_how.serving.replicas.desired import DesiredFile, from_file, merged, rolled_back, upgraded, with_canary
from ai_how.site.resolve import Asked
from ai_how.site.serving import Numbers, _desired
from ai_how.spec.serving import ENGINE_NAMES

SERVED = Desired(model="tiny", current=ONE, said=1.0)


def test_a_version_is_all_that_a_replica_is_started_from() -> None:
    again = ModelVersion.model_validate(ONE.model_dump() | {"reference": "other", "label": "3", "id": ""})
    assert again.id == ONE.id
    for changes in (
        {"path": "/x"},
        {"context": 1},
        {"resources": ReplicaResources(cpus=9)},
        {"engine": "vllm"},
    ):
        assert ModelVersion.model_validate(ONE.model_dump() | changes | {"id": ""}).id != ONE.id


def test_a_commands_word_goes_before_the_files_until_it_is_taken_back() -> None:
    file = DesiredFile(models={"tiny": SERVED, "other": SERVED.model_copy(update={"model": "other"})})
    command = DesiredFile(models={"tiny": SERVED.model_copy(update={"current": TWO})})
    both = merged(file, command)
    assert [(name, one.origin, one.desired.current) for name, one in sorted(both.items())] == [
        ("other", "file", ONE), ("tiny", "command", TWO),
    ]  # fmt: skip
    assert merged(file, DesiredFile())["tiny"].origin == "file"


def test_upgrade_canary_and_back() -> None:
    new = upgraded(SERVED, TWO, NOW)
    assert (new.current, new.previous, new.said) == (TWO, ONE, NOW)
    back = rolled_back(new, NOW + 1)
    assert back.current == ONE
    # A second time does not go forward again to what was given up.
    with pytest.raises(NotFound, match="no version to go back to"):
        rolled_back(back, NOW + 2)
    tried = with_canary(SERVED, TWO, 25, NOW)
    assert (tried.current, tried.canary, tried.canary_weight) == (ONE, TWO, 25)
    assert rolled_back(tried, NOW + 1).canary is None and rolled_back(tried, NOW + 1).current == ONE
    promoted = upgraded(tried, TWO, NOW)
    assert (promoted.current, promoted.previous, promoted.canary) == (TWO, ONE, None)
    with pytest.raises(UsageError, match="is served already"):
        with_canary(SERVED, ONE, 10, NOW)
    with pytest.raises(NotFound, match="no version to go back to"):
        rolled_back(SERVED, NOW)


def test_the_files_word_keeps_what_a_rollback_needs_and_is_new_only_when_it_differs() -> None:
    same = from_file(SERVED, SERVED.model_copy(update={"said": NOW}))
    assert same == SERVED
    other = from_file(SERVED, SERVED.model_copy(update={"current": TWO, "said": NOW}))
    assert (other.current, other.previous, other.said) == (TWO, ONE, NOW)
    assert from_file(None, SERVED) is SERVED


@pytest.mark.parametrize(
    ("old", "change", "current", "canary"),
    [
        (None, "none", TWO, None),
        (SERVED.model_copy(update={"stopped": True}), "none", TWO, None),
        (SERVED.model_copy(update={"current": None, "fault": "it was not there"}), "none", TWO, None),
        (SERVED, "upgrade", TWO, None),
        (SERVED, "canary", ONE, TWO),
        (SERVED.model_copy(update={"current": TWO}), "none", TWO, None),
    ],
)
def test_what_serve_makes_of_it(
    old: Desired | None, change: str, current: ModelVersion, canary: ModelVersion | None
) -> None:
    new = _desired(old, "tiny", TWO, Numbers(), change, 10, NOW)  # type: ignore[arg-type]
    assert (new.current, new.canary, new.said, new.awake, new.stopped, new.fault) == (
        current, canary, NOW, True, False, "",
    )  # fmt: skip


def test_another_version_is_not_brought_by_accident() -> None:
    with pytest.raises(UsageError, match="another version of tiny is served already") as caught:
        _desired(SERVED, "tiny", TWO, Numbers(), "none", 10, NOW)
    assert "--upgrade" in (caught.value.todo or "")


@pytest.mark.parametrize(
    ("numbers", "scale", "expected"),
    [
        (Numbers(), Scale(), (1, 1, None)),
        (Numbers(3, 3), Scale(), (3, 3, None)),
        (Numbers(2), Scale(), (2, 2, None)),
        (Numbers(maximum=4), Scale(), (1, 4, None)),
        (Numbers(0), Scale(), (0, 1, 900.0)),
        (Numbers(0, 3, idle=60), Scale(), (0, 3, 60)),
        (Numbers(), Scale(minimum=2, maximum=5), (2, 5, None)),
    ],
)
def test_numbers(numbers: Numbers, scale: Scale, expected: tuple[int, int, float | None]) -> None:
    found = numbers.over(scale)
    assert (found.minimum, found.maximum, found.idle) == expected


def test_numbers_that_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="3 replicas at least and 2 at most"):
        Numbers(3, 2).over(Scale())
    with pytest.raises(UsageError, match="only a model with --min 0 sleeps"):
        Numbers(idle=60).over(Scale())


def test_what_is_left_out_stays_as_it_is_served() -> None:
    image = Place(kind="apptainer", at="/images/engine.sif")
    resources = ReplicaResources(cpus=4, memory="8G", gres="gpu:a100:1", qos="high")
    served = ModelVersion(
        reference="tiny:3", engine="vllm", path="/x", place=image, context=4096, slots=8, resources=resources
    )
    wish = Asked("tiny:4", cpus=6).wish(served)
    assert (wish.reference, wish.engine, wish.context, wish.slots, wish.place) == (
        "tiny:4", "vllm", 4096, 8, image,
    )  # fmt: skip
    # Nobody said how much memory, and which GPU: the other file decides anew.
    assert wish.resources == ReplicaResources(cpus=6, memory=None, gres=None, qos="high")
    given = served.model_copy(update={"given": ("memory", "gres")})
    assert Asked("tiny:4").wish(given).resources == resources
    assert Asked("tiny:4", engine="llama.cpp").wish(served).place is None
    plain = Asked("tiny:4").wish(None)
    assert (plain.engine, plain.context, plain.slots, plain.place) == (None, 2048, 2, None)
    assert plain.resources == ReplicaResources()


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (Asked("site-facts:3"), "site-facts"),
        (Asked("site-facts@champion"), "site-facts"),
        (Asked("/models/llama-3.gguf"), "llama-3"),
        (Asked("x", name="y"), "y"),
    ],
)
def test_the_name_that_clients_ask_for(asked: Asked, name: str) -> None:
    assert asked.usual_name == name


def test_two_commands_at_once_lose_nothing(tmp_path: Path) -> None:
    store = Store(SiteFolders.of(tmp_path))
    for name in ("a", "b"):
        with store.change("command") as models:
            models[name] = Desired(model=name, current=ONE)
    assert sorted(store.load("command").models) == ["a", "b"]
    assert (tmp_path / "state" / "serving" / "command.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ZeroDivisionError), store.change("command") as models:
        models.clear()
        raise ZeroDivisionError
    assert sorted(store.load("command").models) == ["a", "b"]


def test_the_file_knows_the_engines_that_there_are() -> None:
    assert sorted(ENGINE_NAMES) == sorted(ENGINES)
