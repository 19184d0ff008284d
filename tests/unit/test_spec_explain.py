"""What a key means, and what it is here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_how.cli import main
from ai_how.errors import NotFound
from ai_how.spec import parse
from ai_how.spec.explain import explain, resolve
from ai_how.spec.keys import keys
from ai_how.spec.provenance import dotted
from ai_how.spec.template import laptop, template

FILE = parse(laptop(), "cluster.yaml")
PRODUCTION = parse(template("production"), "cluster.yaml")


def test_a_key_with_its_value_and_the_line_that_said_so() -> None:
    found = explain("clusters.hpc.slurm_config.max_job_time", FILE)
    assert found.key.meaning == "The longest time limit of a job, in Slurm's notation."
    assert (found.key.kind, found.key.default) == ("time", "24:00:00")
    [value] = found.values
    assert (value.value, value.origin) == ("24:00:00", "cluster.yaml:24:21")
    assert found.link == "reference/cluster-yaml.html#clusters-hpc-slurm_config"
    assert 'max_job_time: "24:00:00"' in found.examples


def test_a_default_says_so() -> None:
    [value] = explain("security.audit.retention_days", FILE).values
    assert (value.value, value.origin) == (365, "default")


@pytest.mark.parametrize(
    "asked",
    [
        "partitions.urgent.max_time",
        "partitions[2].max_time",
        "clusters.hpc.slurm_config.partitions.2.max_time",
    ],
)
def test_an_item_of_a_list_is_meant_by_name_or_number(asked: str) -> None:
    [value] = explain(asked, PRODUCTION).values
    assert value.value == "12:00:00"
    assert dotted(value.path) == "clusters.hpc.slurm_config.partitions.urgent.max_time"


def test_a_key_of_every_item_has_a_value_for_each() -> None:
    found = explain("partitions.max_time", PRODUCTION)
    assert [(names, value.value) for names, value in found.here(found.key)] == [
        ("interactive", "08:00:00"), ("batch", "3-00:00:00"), ("urgent", "12:00:00"),
    ]  # fmt: skip


def test_a_mapping_lists_its_keys() -> None:
    found = explain("clusters.hpc.controller", FILE)
    assert [child.path[-1] for child in found.children] == ["cpu_cores", "memory_gb", "disk_gb", "ip_address"]
    assert {value.path[-1] for value in found.values} >= {"cpu_cores", "memory_gb"}


def test_a_mapping_and_each_item_of_a_list_know_their_lines() -> None:
    assert explain("clusters.hpc.controller", FILE).places == (("", "cluster.yaml:12:5"),)
    assert explain("slurm_config.qos", PRODUCTION).places[1:] == (
        ("normal", "cluster.yaml:75:11"),
        ("urgent", "cluster.yaml:76:11"),
    )


def test_a_list_is_one_value() -> None:
    [vision] = explain("accounts.vision.users", PRODUCTION).values
    assert vision.value == ["ann", "bob"]


def test_without_words_the_whole_file() -> None:
    assert [child.path for child in explain("").children][:2] == [("version",), ("metadata",)]


@pytest.mark.parametrize(
    ("asked", "message", "todo"),
    [
        ("clusters.hcp.provider", "no key 'hcp' in 'clusters'", "Did you mean clusters.hpc?"),
        ("max_job_tim", "no key 'max_job_tim'", "Did you mean clusters.hpc.slurm_config.max_job_time?"),
        ("clusters.hpc.provider.x", "no key 'x' in 'clusters.hpc.provider'", ""),
        ("qqq", "no key 'qqq'", "There are: version, metadata, "),
        ("provider", "2 keys end in 'provider'", "Say more"),
    ],
)
def test_an_unknown_key_gets_what_may_have_been_meant(asked: str, message: str, todo: str) -> None:
    with pytest.raises(NotFound) as caught:
        explain(asked)
    assert message in caught.value.message
    assert todo in (caught.value.todo or "")


def test_every_key_can_be_asked_for() -> None:
    for path in keys():
        assert resolve(".".join(path)) == (path, {})


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AI_HOW_FILE", raising=False)
    assert main(["explain", "clusters.hpc.provider"]) == 0
    printed = capsys.readouterr().out
    assert "one of local, libvirt, existing" in printed and "here" not in printed
    (tmp_path / "cluster.yaml").write_text(laptop())
    assert main(["explain", "clusters.hpc.provider"]) == 0
    assert "local  (cluster.yaml:11:15)" in capsys.readouterr().out
    assert main(["explain", "clusters.hpc.provider", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["allowed"] == ["local", "libvirt", "existing"] and facts["default"] == "local"
    assert facts["values"] == [
        {"path": "clusters.hpc.provider", "value": "local", "source": "file", "where": "cluster.yaml:11:15"}
    ]
    assert facts["file"] == {"path": "file", "value": "cluster.yaml", "source": "default", "where": None}
    assert main(["explain", "no.such"]) == 8


def test_which_file_it_is_and_who_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(laptop())
    monkeypatch.setenv("AI_HOW_FILE", str(file))
    assert main(["explain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"]["source"] == "environment"
    assert main(["explain", "--json", "--file", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["file"]["where"] == "--file"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_HOW_FILE", "a.yaml")
    assert main(["explain"]) == 0
    assert "a.yaml  ($AI_HOW_FILE)" in capsys.readouterr().out


def test_a_file_with_mistakes_does_not_keep_a_key_from_being_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_text("version: 7\n")
    assert main(["explain", "backup.schedule", "--file", str(tmp_path / "x.yaml")]) == 0
    captured = capsys.readouterr()
    assert "0 3 * * *" in captured.out and "ai-how validate" in captured.err
    assert main(["explain", "backup.schedule", "--file", str(tmp_path / "none.yaml")]) == 8
