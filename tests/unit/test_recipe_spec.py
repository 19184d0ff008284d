"""Recipes as text: what they may say, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.errors import NotFound, SpecError
from ai_how.jobs.control import SHIPPED, find_recipe
from ai_how.spec.recipe import parse_recipe

GOOD = """\
version: "1.0"
kind: train
name: mine
script: train.py
arguments: {epochs: 3}
environment: {venv: torch}
resources: {nodes: 2, gpus_per_node: 2, gpu: a100, memory: 512, time_limit: "00:10:00"}
notice: 60
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_recipe(text, "recipe.yaml")
    return [f"{one.where}: {one.message} {one.todo or ''}" for one in caught.value.problems]


def test_a_recipe_is_read_whole() -> None:
    recipe = parse_recipe(GOOD, "recipe.yaml")
    assert recipe.resources.gres == "gpu:a100:2" and recipe.resources.memory == "512M"
    assert recipe.arguments == {"epochs": 3} and recipe.entry == "train.py"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in SHIPPED.glob("*/recipe.yaml")))
def test_every_shipped_recipe_is_in_order(name: str) -> None:
    file = find_recipe(name)
    assert file.recipe.name == name and file.recipe.description
    assert find_recipe(str(file.path)) == file == find_recipe(str(file.path.parent))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("notice: 60", "notise: 60"), "recipe.yaml:8:1: unknown key 'notise' Did you mean 'notice'?"),
        (("kind: train", "kind: tune"), "recipe.yaml:2:7"),
        (("script: train.py", "script: null"), "needs 'script'"),
        (("{venv: torch}", "{venv: torch, image: x.sif}"), "an environment is one of"),
        (("{venv: torch}", "{}"), "an environment is one of"),
        (("{venv: torch}", "{modules: [x], image: x.sif, path: /y}"), "an environment is one of"),
        (("nodes: 2", "nodes: 0"), "greater than or equal to 1"),
        (("memory: 512", "memory: lots"), "memory"),
        (('"00:10:00"', '"soon"'), "soon"),
        (("notice: 60", "notice: 600"), "recipe.yaml:8:9: the notice comes before the job has begun"),
        (("{epochs: 3}", "{--epochs: 3}"), "arguments"),
        (("name: mine", "name: Mine!"), "recipe.yaml:3:7"),
        (('version: "1.0"', 'version: "9"'), "recipe.yaml:1:10"),
    ],
)
def test_a_mistake_is_named_with_its_place(change: tuple[str, str], expected: str) -> None:
    assert change[0] in GOOD
    (said,) = mistakes(GOOD.replace(*change))
    assert expected in said


def test_all_mistakes_are_told_at_once() -> None:
    said = mistakes(GOOD.replace("nodes: 2", "nodse: 2").replace("kind: train", "kind: tune"))
    assert len(said) == 2 and said == sorted(said)


@pytest.mark.parametrize("text", ["", "- a list", "{", "just words"])
def test_what_is_no_recipe_at_all(text: str) -> None:
    assert mistakes(text)[0].startswith("recipe.yaml:")


def test_an_unknown_recipe_tells_what_there_is() -> None:
    with pytest.raises(NotFound) as caught:
        find_recipe("digit")
    assert "digits" in (caught.value.todo or "") and "site-facts" in (caught.value.todo or "")


@pytest.mark.parametrize("text", [b"\xff\xfe", b"kind: train\n"])
def test_a_recipe_that_is_none_says_how_recipes_are_checked(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "recipe.yaml").write_bytes(text)
    with pytest.raises(SpecError) as caught:
        find_recipe(str(tmp_path))
    assert caught.value.todo and "--dry-run" in caught.value.todo and "validate" not in caught.value.todo
