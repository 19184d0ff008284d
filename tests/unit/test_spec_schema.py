"""The JSON Schema says what the types say."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from ai_how.cli import main
from ai_how.errors import SpecError
from ai_how.spec import parse
from ai_how.spec.keys import Key, keys
from ai_how.spec.load import load, tuples
from ai_how.spec.model import SiteSpec
from ai_how.spec.schema import FILES, schema
from ai_how.spec.template import PURPOSES, laptop, template

FAULTS = Path(__file__).parent / "faults"
EXAMPLES = Path(__file__).parents[2] / "examples"
CHECK = {file: jsonschema.Draft202012Validator(schema(file)) for file in FILES}


@pytest.mark.parametrize("file", FILES)
def test_it_is_a_schema_without_noise(file: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(file))
    text = json.dumps(schema(file))
    assert text.count('"title"') == 1
    assert schema(file)["$schema"].endswith("2020-12/schema")
    assert schema(file)["$id"] == f"urn:ai-how:{file}:1.0"
    # What the types say is kept: every key tells its meaning.
    assert all(key.meaning for key in keys(file).values())


@pytest.mark.parametrize("kind", PURPOSES)
def test_every_template_validates(kind: str) -> None:
    CHECK["cluster"].validate(load(template(kind), kind).data)


FILES_THERE = sorted((*EXAMPLES.glob("clusters/*.yaml"), *EXAMPLES.rglob("recipe.yaml")))


@pytest.mark.parametrize("file", FILES_THERE, ids=lambda file: file.stem)
def test_every_example_validates(file: Path) -> None:
    CHECK["recipe" if file.name == "recipe.yaml" else "cluster"].validate(
        load(file.read_text(), file.name).data
    )


SHORT = """\
version: "1.0"
metadata: {name: tiny}
clusters:
  hpc:
    compute_nodes: NODES
    slurm_config: {partitions: [gpu, {name: debug, max_time: 30}], max_job_time: 24:00:00, default_job_time: 60}
"""


@pytest.mark.parametrize(
    "nodes",
    [
        "{count: 1, cpu_cores: 1, memory_gb: 1}",
        "[{name: a, count: 1, cpu_cores: 1, memory_gb: 1}, {name: b, count: 1, cpu_cores: 1, memory_gb: 1}]",
    ],
)
def test_short_forms_are_allowed(nodes: str) -> None:
    text = SHORT.replace("NODES", nodes)
    assert parse(text)
    CHECK["cluster"].validate(load(text, "x").data)
    # Older readers of YAML take a time without quotes for a number; editors may be among them.
    CHECK["cluster"].validate(yaml.safe_load(text))


def holders(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every mapping."""
    if isinstance(data, dict):
        yield path
    for key, value in (
        data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    ):
        yield from holders(value, (*path, key))


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


@pytest.mark.parametrize("kind", PURPOSES)
def test_an_unknown_key_is_refused_wherever_it_is(kind: str) -> None:
    data = load(template(kind), kind).data
    for path in holders(data):
        wrong = copy.deepcopy(data)
        at(wrong, path)["no_such_key"] = 1
        assert not CHECK["cluster"].is_valid(wrong), path


@pytest.mark.parametrize("kind", PURPOSES)
def test_a_value_of_another_type_is_refused_wherever_it_is(kind: str) -> None:
    data = load(template(kind), kind).data
    for holder in holders(data):
        for key, value in at(data, holder).items():
            for other in ("text", True, [1]):
                if type(other) is type(value):
                    continue
                wrong = copy.deepcopy(data)
                at(wrong, holder)[key] = other
                assert not CHECK["cluster"].is_valid(wrong), (holder, key, other)
                with pytest.raises(ValidationError):
                    SiteSpec.model_validate(tuples(wrong))


@pytest.mark.parametrize("file", FILES)
def test_every_required_key_is_required(file: str) -> None:
    required = {key.path for key in keys(file).values() if key.required}
    if file == "cluster":
        data = load(laptop(), "x").data
        for path in required & {
            ("version",),
            ("metadata",),
            ("metadata", "name"),
            ("clusters", "hpc", "compute_nodes", "count"),
        }:
            wrong = copy.deepcopy(data)
            del at(wrong, path[:-1])[path[-1]]
            assert not CHECK["cluster"].is_valid(wrong)
    assert ("version",) in required


def test_keys_are_read_off_the_types() -> None:
    def one(path: str) -> Key:
        return keys()[tuple(path.split("."))]

    assert one("clusters.hpc.slurm_config.max_job_time").kind == "time"
    assert one("clusters.hpc.compute_nodes").kind == "mapping or list of mappings"
    assert one("clusters.hpc.provider").allowed == ("local", "libvirt", "existing")
    assert one("global.networks.hpc_network.dns").kind == "list of IPv4 addresses"
    assert one("clusters.cloud.services.mlflow.port").kind == "integer, 1 to 65535"
    assert one("global.gpu_allocation.demands.for").required


def test_the_command_prints_or_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
    file = tmp_path / "recipe.schema.json"
    assert main(["schema", "recipe", "--output", str(file)]) == 0
    assert json.loads(file.read_text()) == schema("recipe")
    assert f"# yaml-language-server: $schema={file}" in capsys.readouterr().out


#: What a JSON Schema can know of a value; the rest is for whoever sees the whole file.
KNOWN = re.compile(
    r"extra_forbidden|missing|literal_error|\w+_type|union_tag_\w+|too_(short|long)|(greater|less)_than(_equal)?"
)


def wrong_by_itself() -> Iterator[tuple[str, Any]]:
    """The planted faults that a schema can know of."""
    base = (FAULTS / "base.yaml").read_text()
    for file in sorted(FAULTS.glob("*.yaml")):
        for fault in yaml.safe_load(file.read_text()) if file.name != "base.yaml" else ():
            text = base
            for old, new in ((fault["old"], fault["new"]), *fault.get("also", ())):
                text = text.replace(old, new)
            try:
                data = load(text.replace("«", ""), file.name).data
                SiteSpec.model_validate(tuples(data))
            except SpecError:
                continue
            except ValidationError as error:
                if any(KNOWN.fullmatch(detail["type"]) for detail in error.errors()):
                    yield f"{file.stem}: {fault['says']}", data


def test_planted_faults_of_shape_are_refused() -> None:
    faults = list(wrong_by_itself())
    assert len(faults) >= 25
    missed = [says for says, data in faults if CHECK["cluster"].is_valid(data)]
    # To JSON Schema, 4.0 and 4 are one number.
    assert [says for says in missed if not says.endswith("not 4.0")] == []
