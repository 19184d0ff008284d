"""``cluster.yaml``: every mistake at once, each with its line and column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_how.errors import Problem, SpecError
from ai_how.spec import SiteFile, parse
from ai_how.spec.check import Check, Found
from ai_how.spec.model import SiteSpec
from ai_how.spec.template import laptop

SMALLEST = """\
version: "1.0"
metadata: {name: tiny}
clusters:
  hpc:
    compute_nodes: {count: 2, cpu_cores: 1, memory_gb: 1}
"""


def mistakes(text: str) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.exit_code == 3
    return list(caught.value.problems)


def edited(old: str, new: str, text: str = SMALLEST) -> str:
    assert old in text
    return text.replace(old, new)


def test_the_smallest_file_gets_every_default() -> None:
    spec = parse(SMALLEST).spec
    assert spec.node_names == ("node01", "node02")
    assert spec.clusters.hpc.default_partition == "main"
    assert spec.clusters.hpc.slurm_config.max_job_time == "24:00:00"
    assert spec.clusters.cloud.services.gateway.port is None
    assert spec.global_.telemetry is False


def test_the_template_is_valid_and_its_values_know_their_places() -> None:
    file: SiteFile = parse(laptop("mine"), "there/cluster.yaml")
    assert file.spec.name == "mine"
    lines = laptop("mine").splitlines()
    line = next(number for number, text in enumerate(lines, start=1) if text.startswith("      count: 4 "))
    assert file.where("clusters", "hpc", "compute_nodes", "count") == f"there/cluster.yaml:{line}:14"
    # What is not written in the file is found at the nearest thing around it.
    assert file.where("clusters", "cloud", "services", "mlflow", "port").startswith("there/cluster.yaml:")


@pytest.mark.parametrize(
    ("old", "new", "message", "todo"),
    [
        (
            "count: 2",
            "cuont: 2",
            "unknown key 'cuont' in 'clusters.hpc.compute_nodes'",
            "Did you mean 'count'?",
        ),
        ("count: 2", "count: 0", "greater than or equal to 1, not 0", "How many nodes"),
        (
            "count: 2",
            'count: "2"',
            "should be a whole number, not '2'",
            "Write 2 without quotes. How many nodes",
        ),
        ("count: 2", "count: true", "should be a whole number, not true", "How many nodes"),
        ("name: tiny", "name: Tiny", "'Tiny' cannot be a name", "Names the site"),
        ("name: tiny", "name: ../x", "cannot be a name", None),
        ('"1.0"', "1.0", "'version'", None),
        ('"1.0"', '"2.0"', "of version 2.0", "A later ai-how"),
        ("  hpc:", "  hpcc:", "unknown key 'hpcc' in 'clusters'", "Did you mean 'hpc'?"),
        ("  hpc:", "  slurm:", "'clusters.hpc' is missing", "The Slurm side."),
    ],
)
def test_each_mistake_is_said_in_words(old: str, new: str, message: str, todo: str | None) -> None:
    found = mistakes(edited(old, new))
    assert any(message in one.message for one in found), found
    if todo is not None:
        assert any(todo in (one.todo or "") for one in found), found


def test_all_mistakes_are_reported_at_once_in_order() -> None:
    text = edited("count: 2, cpu_cores: 1", "count: 0, cpu_cores: -1", edited("name: tiny", "nam: tiny"))
    found = mistakes(text)
    assert len(found) == 3
    assert [one.line for one in found] == sorted(one.line for one in found)
    assert all(one.where.startswith("cluster.yaml:") for one in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters: {", "no valid YAML"),
        ("a: b: c", "no valid YAML"),
        ("a: 1\na: 2\n", "the key 'a' stands here a second time; the first is in line 1"),
        ("", "nothing was found"),
        ("- a\n- b\n", "a list was found"),
        ("just words", "'just words' was found"),
        ("\tx: 1", "a tab stands where YAML wants blanks"),
        (
            "a: !!python/object/apply:os.system [id]",
            "tag '!!python/object/apply:os.system' means nothing here",
        ),
    ],
)
def test_what_is_no_file_of_ours(text: str, message: str) -> None:
    assert any(message in one.message for one in mistakes(text))


SERVICES = SMALLEST + "  cloud: {services: {mlflow: {port: PORT}, gateway: {port: 15000}}}\n"


def test_ports() -> None:
    assert "less than or equal to 65535" in mistakes(edited("PORT", "65536", SERVICES))[0].message
    assert "greater than or equal to 1" in mistakes(edited("PORT", "0", SERVICES))[0].message
    assert (
        "port 15000 is asked for by mlflow and by gateway"
        in mistakes(edited("PORT", "15000", SERVICES))[0].message
    )
    assert parse(edited("PORT", "15001", SERVICES)).spec.clusters.cloud.services.mlflow.port == 15001


PARTITIONS = (
    SMALLEST + "    slurm_config: {partitions: [LIST], default_partition: gpu, max_job_time: 10:00:00}\n"
)


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ("gpu, gpu", "'gpu' is listed twice"),
        ("{name: gpu, nodes: 3}", "spans 3 nodes, the cluster has 2"),
        ("cpu", "there is no partition 'gpu'"),
        ("{name: gpu, max_time: '11:00:00'}", "allows 11:00:00, more than max_job_time"),
        ("{name: gpu, max_time: soon}", "'soon' is no time"),
        ("'g p u'", "is no name for Slurm"),
        ("", "is a list of at least 1"),
    ],
)
def test_what_one_key_cannot_know_of_another(partitions: str, message: str) -> None:
    assert message in mistakes(edited("LIST", partitions, PARTITIONS))[0].message


def test_a_device_listed_twice_is_told_to_be_added_up() -> None:
    devices = "memory_gb: 1, devices: [{model: a100}, {model: a100, count: 2}]"
    assert "add up its count" in mistakes(edited("memory_gb: 1", devices))[0].message


def test_checks_of_rooms_above_are_told_together_with_the_files_own() -> None:
    def counts(spec: SiteSpec) -> Iterator[Found]:
        yield (
            ("clusters", "hpc", "compute_nodes", "count"),
            f"{len(spec.node_names)} are unlucky",
            "Take another.",
        )

    narrow = Check(counts, ("clusters.hpc.compute_nodes.count",))
    both = edited("PORT", "15000", SERVICES)
    for also, messages in (
        ((narrow,), ["2 are unlucky", "port 15000 is asked for by mlflow and by gateway"]),
        # A plain function reads the whole file, which has a mistake.
        ((counts,), ["port 15000 is asked for by mlflow and by gateway"]),
    ):
        with pytest.raises(SpecError) as caught:
            parse(both, also=also)
        assert [one.message for one in caught.value.problems] == messages
    with pytest.raises(SpecError) as caught:
        parse(SMALLEST, also=(counts,))
    (problem,) = caught.value.problems
    assert (problem.where, problem.todo) == ("cluster.yaml:5:28", "Take another.")
    assert problem.link == "reference/cluster-yaml.html#clusters-hpc-compute_nodes"
    with pytest.raises(SpecError) as caught:
        parse(edited("count: 2", "count: two"), also=(narrow,))
    assert "whole number" in caught.value.problems[0].message and len(caught.value.problems) == 1


GROUPS = """\
    compute_nodes:
      - {name: thin, count: 2, cpu_cores: 1, memory_gb: 1}
      - {name: fat, count: 1, cpu_cores: 4, memory_gb: 64, devices: [{model: a100}]}
    slurm_config: {partitions: [all, {name: first, nodes: 1}, {name: fat, groups: [fat]}]}
"""


def test_several_groups_of_nodes() -> None:
    spec = parse(SMALLEST.replace("    compute_nodes: {count: 2, cpu_cores: 1, memory_gb: 1}\n", GROUPS)).spec
    assert spec.node_names == ("thin01", "thin02", "fat01")
    assert spec.group_of("fat01").memory_gb == 64
    hpc = spec.clusters.hpc
    assert [hpc.nodes_of(partition) for partition in hpc.slurm_config.partitions] == [
        ("thin01", "thin02", "fat01"), ("thin01",), ("fat01",),
    ]  # fmt: skip
    (one,) = parse(SMALLEST).spec.clusters.hpc.groups
    assert one.name is None and one.node_names == ("node01", "node02")


def test_yaml_is_that_of_today() -> None:
    """Version 1.2: times need no quotes, `no` is a word, and a date is text; numbers may have underscores."""
    text = edited("name: tiny", "name: no, description: 2001-12-14")
    assert parse(text).spec.metadata.description == "2001-12-14" and parse(text).spec.name == "no"
    times = SMALLEST + "    slurm_config: {max_job_time: 24:00:00, default_job_time: 90}\n"
    assert parse(times).spec.clusters.hpc.slurm_config.max_job_time == "24:00:00"
    assert parse(times).spec.clusters.hpc.slurm_config.default_job_time == "90"
    assert parse(edited("memory_gb: 1", "memory_gb: 1_0")).spec.clusters.hpc.groups[0].memory_gb == 10
    assert parse(edited("memory_gb: 1", "memory_gb: 0x10")).spec.clusters.hpc.groups[0].memory_gb == 16


def test_the_file_of_the_plan_is_read_in_shape() -> None:
    """The keys that users' files have; what is wrong about its card only the room of the GPUs knows."""
    spec = parse((Path(__file__).parent / "plan-cluster.yaml").read_text(encoding="utf-8")).spec
    assert spec.node_names == ("node01", "node02", "node03", "node04")
    asked = spec.global_.gpu_allocation
    assert asked is not None and asked.devices[0].allowed_mig_profiles == (
        "1g.5gb",
        "2g.10gb",
        "3g.20gb",
        "7g.80gb",
    )
    assert (asked.strategy, asked.mig_slices.hpc, asked.whole_gpus.cloud) == ("hybrid", 4, 1)
    cloud = spec.clusters.cloud
    assert cloud.control_plane is not None and cloud.control_plane.ip_address == "192.168.200.10"
    assert cloud.worker_nodes is not None and cloud.worker_nodes.gpu_workers is not None
    assert cloud.worker_nodes.gpu_workers.count == 3
    assert cloud.kubernetes_config is not None and cloud.kubernetes_config.cni == "calico"


def test_a_word_without_end_is_cut_where_it_is_quoted() -> None:
    text = SMALLEST + f"serving:\n  models:\n    - {{name: a, source: b, engine: l{'9' * 60}}}\n"
    text += f"    - {{name: c, source: d, resources: {{partition: p{'9' * 5000}}}}}\n"
    with pytest.raises(SpecError) as caught:
        parse(text)
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == 2 and max(map(len, messages)) < 250
    assert f"'p{'9' * 99}…'" in messages[1]
