"""One file laid over another, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_how.cli import main
from ai_how.errors import SpecError, UsageError
from ai_how.spec import parse
from ai_how.spec.merge import Layer, Merged, merge, setting
from ai_how.spec.provenance import Source, dotted, values

BASE = """\
# The lab
version: "1.0"
metadata: {name: lab, description: "one"}   # ours

clusters:
  hpc:
    compute_nodes:
      count: 4      # four
      cpu_cores: 8
      memory_gb: 16
      devices:
        - {model: a100, count: 2}
    slurm_config:
      partitions:
        - gpu       # all
        - {name: debug, max_time: "00:30:00"}
      default_partition: gpu
      qos:
        - name: high      # for the boss
          priority: 10
"""


def laid(overlay: str, base: str = BASE) -> Merged:
    return merge(Layer("base.yaml", base), Layer("over.yaml", overlay))


def changed(overlay: str) -> tuple[list[str], list[str]]:
    """The lines that went and those that came."""
    old, new = BASE.splitlines(), laid(overlay).text.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


@pytest.mark.parametrize(
    ("overlay", "gone", "come"),
    [
        (
            "clusters: {hpc: {compute_nodes: {count: 6}}}",
            ["      count: 4      # four"],
            ["      count: 6      # four"],
        ),
        (
            "metadata: {description: null}",
            ['metadata: {name: lab, description: "one"}   # ours'],
            ["metadata: {name: lab}   # ours"],
        ),
        (
            "clusters: {hpc: {compute_nodes: {disk_gb: 10}}}",
            [],
            ["      disk_gb: 10"],
        ),
        (
            "clusters: {hpc: {slurm_config: {partitions: [{name: gpu, priority: 3}]}}}",
            ["        - gpu       # all"],
            ["        - {name: gpu, priority: 3}  # all"],
        ),
        (
            "clusters: {hpc: {slurm_config: {partitions: [gpu, {name: debug, nodes: 1}]}}}",
            ['        - {name: debug, max_time: "00:30:00"}'],
            ['        - {name: debug, max_time: "00:30:00", nodes: 1}'],
        ),
        (
            "clusters: {hpc: {slurm_config: {partitions: [long]}}}",
            [],
            ["        - long"],
        ),
        (
            "clusters: {hpc: {slurm_config: {partitions: {debug: null, long: {nodes: 2}}}}}",
            ['        - {name: debug, max_time: "00:30:00"}'],
            ["        - {name: long, nodes: 2}"],
        ),
        (
            "clusters: {hpc: {slurm_config: {qos: {high: {priority: 20}}}}}",
            ["          priority: 10"],
            ["          priority: 20"],
        ),
        (
            "monitoring: {alerts: {disk_used_percent: 80}}",
            [],
            ["monitoring:", "  alerts: {disk_used_percent: 80}"],
        ),
        ("clusters: {cloud: null, hpc: {storage: null}}", [], []),
        ("metadata: {name: lab}", [], []),
    ],
)  # fmt: skip
def test_only_what_the_overlay_says_changes(overlay: str, gone: list[str], come: list[str]) -> None:
    assert changed(overlay) == (gone, come)


def test_what_is_told_apart_by_another_key_than_its_name() -> None:
    merged = laid("clusters: {hpc: {compute_nodes: {devices: [{model: a100, count: 4}, {model: h100}]}}}")
    assert [(one.model, one.count) for one in merged.file.spec.clusters.hpc.groups[0].devices] == [
        ("a100", 4),
        ("h100", 1),
    ]


def test_things_without_names_are_not_told_apart() -> None:
    with pytest.raises(SpecError) as caught:
        laid("clusters: {hpc: {slurm_config: {qos: [{name: {a: 1}}, [2], null]}}}")
    assert all(problem.file == "over.yaml" for problem in caught.value.problems)


def test_a_single_group_can_become_several() -> None:
    overlay = "clusters: {hpc: {compute_nodes: [{name: a, count: 1, cpu_cores: 1, memory_gb: 1}]}}"
    assert laid(overlay).file.spec.node_names == ("a01",)


def test_the_last_layer_wins_and_says_so() -> None:
    merged = merge(
        Layer("base.yaml", BASE),
        Layer("one.yaml", "clusters:\n  hpc:\n    compute_nodes: {count: 5, memory_gb: 8}\n"),
        Layer("two.yaml", "clusters:\n  hpc:\n    compute_nodes: {count: 6}\n"),
        setting("clusters.hpc.compute_nodes.cpu_cores=2"),
    )
    found = {dotted(value.path): value for value in merged.values}
    nodes = "clusters.hpc.compute_nodes"
    assert (found[f"{nodes}.count"].value, found[f"{nodes}.count"].origin) == (6, "two.yaml:3:28")
    assert found[f"{nodes}.memory_gb"].origin == "one.yaml:3:42"
    assert found[f"{nodes}.cpu_cores"].origin == "--set clusters.hpc.compute_nodes.cpu_cores=2"
    assert found[f"{nodes}.cpu_cores"].source is Source.FLAG
    assert found[f"{nodes}.devices[0].count"].origin == "base.yaml:12:32"
    assert found["clusters.hpc.slurm_config.qos[0].priority"].origin == "base.yaml:20:21"
    assert found["global.telemetry"].source is Source.DEFAULT
    assert found["global.telemetry"].origin == "default"


def test_the_place_of_an_item_is_found_by_its_name_not_its_number() -> None:
    slurm = "{partitions: {gpu: null, debug: {nodes: 1}}, default_partition: debug}"
    merged = laid(f"clusters:\n  hpc:\n    slurm_config: {slurm}\n")
    found = {dotted(value.path): value.origin for value in merged.values}
    assert found["clusters.hpc.slurm_config.partitions[0].max_time"] == "base.yaml:16:35"
    assert found["clusters.hpc.slurm_config.partitions[0].nodes"] == "over.yaml:3:59"


def test_a_file_alone_knows_its_values_places() -> None:
    found = {dotted(value.path): value.origin for value in values(parse(BASE, "cluster.yaml"))}
    assert found["clusters.hpc.compute_nodes.count"] == "cluster.yaml:8:14"
    assert found["clusters.hpc.slurm_config.partitions[0].name"] == "cluster.yaml:15:11"
    assert found["clusters.hpc.slurm_config.partitions[0].max_time"] == "default"


@pytest.mark.parametrize("assignment", ["x", "=1", "a..b=1"])
def test_what_sets_nothing(assignment: str) -> None:
    with pytest.raises(UsageError):
        setting(assignment)


def test_a_mistake_is_told_where_it_was_written() -> None:
    with pytest.raises(SpecError) as caught:
        laid("clusters:\n  hpc:\n    compute_nodes:\n      count: 0\n      cuont: 1\n")
    assert sorted(problem.where for problem in caught.value.problems) == ["over.yaml:4:14", "over.yaml:5:7"]
    with pytest.raises(SpecError) as caught:
        laid("metadata: {description: x}", BASE.replace("cpu_cores: 8", "cpu_cores: 0"))
    assert [problem.where for problem in caught.value.problems] == ["base.yaml:9:18"]


AFTER = BASE.replace('"one"}   #', "two}     #")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, over = tmp_path / "base.yaml", tmp_path / "over.yaml"
    base.write_text(BASE)
    over.write_text("metadata: {description: two}\n")
    assert main(["merge", str(base), str(over)]) == 0
    assert capsys.readouterr().out == AFTER
    output = tmp_path / "out.yaml"
    assert main(["merge", str(base), str(over), "--output", str(output)]) == 0
    assert output.read_text() == AFTER
    output.chmod(0o600)
    assert main(["merge", str(base), "--output", str(output)]) == 0
    assert output.read_text() == BASE and output.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert main(["merge", str(base), str(over), "--provenance", "--set", "metadata.name=x"]) == 0
    printed = capsys.readouterr().out
    assert f"metadata.description: two  {over}:1:25" in printed
    assert "metadata.name: x  --set metadata.name=x" in printed
    assert "global.telemetry" not in printed
    assert main(["merge", str(base), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["text"] == BASE and facts["written"] is None
    assert {"path": "metadata.name", "value": "lab", "source": "file", "where": f"{base}:3:18"} in facts[
        "values"
    ]


@pytest.mark.parametrize("path", ["partitions.1.nodes", "partitions[1].nodes"])
def test_items_are_set_by_name_and_not_by_number(path: str) -> None:
    with pytest.raises(UsageError, match="an item of a list is meant by its name"):
        setting(f"clusters.hpc.slurm_config.{path}=2")
