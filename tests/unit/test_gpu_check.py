"""What is said of a file when one knows the cards."""

from __future__ import annotations

import pytest

from ai_how.errors import SpecError
from ai_how.gpu.check import CHECKS, check
from ai_how.spec import parse

#: The shape that users have, with the card's own profiles.
FILE = """\
version: "1.0"
metadata: {name: site}
global:
  gpu_allocation:
    devices:
      - id: GPU-0
        model: NVIDIA A100 80GB
        mig_capable: true
        allowed_mig_profiles: [1g.10gb, 2g.20gb, 3g.40gb, 7g.80gb]
      - {id: GPU-1, model: NVIDIA RTX 6000, mig_capable: false}
    strategy: hybrid
    mig_slices: {hpc: 4, cloud: 3}
    whole_gpus: {hpc: 0, cloud: 1}
    demands: []
clusters:
  hpc:
    controller: {cpu_cores: 1, memory_gb: 1, disk_gb: 1}
    compute_nodes: {count: 1, cpu_cores: 1, memory_gb: 1, disk_gb: 1, gpu_enabled: true}
    slurm_config: {partitions: [gpu], default_partition: gpu}
  cloud:
    control_plane: {cpu_cores: 1, memory_gb: 1, disk_gb: 1}
    worker_nodes:
      gpu_workers: {count: 1, cpu_cores: 1, memory_gb: 1, disk_gb: 1, gpu_enabled: true}
"""


def told(*changes: tuple[str, str]) -> list[tuple[int, str, str | None]]:
    """What is said of the file with these changes: line, message, what to do."""
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    try:
        parse(text, also=CHECKS)
    except SpecError as error:
        return [(problem.line, problem.message, problem.todo) for problem in error.problems]
    return []


def test_a_file_that_knows_its_card_is_right() -> None:
    assert told() == []
    assert not list(check(parse(FILE).spec))


HAS = "It has 1g.10gb, 1g.20gb, 2g.20gb, 3g.40gb, 4g.40gb and 7g.80gb."


def test_another_cards_profiles_are_named_as_they_are_called_here() -> None:
    said = told(("[1g.10gb, 2g.20gb, 3g.40gb, 7g.80gb]", "[1g.5gb, 2g.10gb, 3g.20gb, 7g.80gb]"))
    assert said == [
        (
            9,
            f"on a 'NVIDIA A100 80GB' (80 GB) the MIG profile {wrong} does not exist; by slice count it is {right}",
            f"Write `{right}`. {HAS}",
        )
        for wrong, right in (("1g.5gb", "1g.10gb"), ("2g.10gb", "2g.20gb"), ("3g.20gb", "3g.40gb"))
    ]


@pytest.mark.parametrize(
    ("change", "line", "message", "todo"),
    [
        (
            ("model: NVIDIA A100 80GB", "model: NVIDIA A10 80GB"),
            7,
            "the catalogue has no GPU 'NVIDIA A10 80GB', so that nobody knows its MIG profiles",
            "Did you mean ",
        ),
        (
            ("RTX 6000, mig_capable: false", "RTX 6000, mig_capable: true"),
            10,
            "'GPU-1' is said to be mig_capable, and a 'NVIDIA RTX 6000' cannot be partitioned",
            "Write `mig_capable: false`",
        ),
        (
            ("demands: []", "demands: [{name: a, for: hpc, profile: 3g.20gb}]"),
            14,
            "on a 'NVIDIA A100-SXM4-80GB' (80 GB) the MIG profile 3g.20gb does not exist; "
            "by slice count it is 3g.40gb",
            "Write `3g.40gb`",
        ),
        (
            ("demands: []", "demands: [{name: a, for: hpc, profile: 4g.40gb}]"),
            14,
            "no device allows 4g.40gb; GPU-0 would have it",
            "Add it to `allowed_mig_profiles`",
        ),
        (
            ("{hpc: 4, cloud: 3}", "{hpc: 4, cloud: 4}"),
            12,
            "mig_slices.hpc (4 of the smallest slice, here 1g.10gb) and mig_slices.cloud (4 of the smallest slice, "
            "here 1g.10gb) do not fit together on GPU-0, the only device for them: 8 of 1g.10gb are asked for, and a "
            "device holds at most 7",
            "The nearest that fits has 3 of 4 for mig_slices.cloud, and all the rest.",
        ),
        (
            ("demands: []", "demands: [{name: a, for: hpc, profile: 3g.40gb}]"),
            14,
            "mig_slices.hpc (4 of the smallest slice, here 1g.10gb), mig_slices.cloud (3 of the smallest slice, "
            "here 1g.10gb) and a (3g.40gb) do not fit together on GPU-0, the only device for them: "
            "they take 10 compute slices, and it has 7",
            "The nearest that fits has ",
        ),
    ],
)
def test_one_mistake_is_told_once(change: tuple[str, str], line: int, message: str, todo: str) -> None:
    ((where, said, advice),) = told(change)
    assert (where, said) == (line, message)
    assert advice is not None and advice.startswith(todo)


def test_a_card_that_nobody_knows_can_be_given_as_a_whole() -> None:
    assert told(("NVIDIA RTX 6000", "NVIDIA Something New")) == []
