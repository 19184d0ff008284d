"""Files of older versions, carried over to the current one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.cli import main
from ai_how.errors import SpecError
from ai_how.spec import parse
from ai_how.spec.migrate import GATHERED, RENAMED, migrate

FILES = Path(__file__).parent / "migrate"
OLD = (FILES / "0.9.yaml").read_text()
NEW = (FILES / "1.0.yaml").read_text()


def test_a_file_of_the_first_draft_is_carried_over_with_comments_and_order() -> None:
    migrated = migrate(OLD)
    assert migrated.text == NEW
    assert migrated.version == "0.9"
    assert len(migrated.steps) == len(set(migrated.steps)) > 15
    spec = parse(migrated.text).spec
    assert spec.name == "lab"
    assert [group.count for group in spec.clusters.hpc.groups] == [4]
    assert spec.clusters.cloud.services.postgresql.port == 15432
    assert [line.split("#")[1] for line in OLD.splitlines() if "#" in line] == [
        line.split("#")[1] for line in NEW.splitlines() if "#" in line
    ]


def test_the_real_file_has_every_old_word() -> None:
    words = {path[-1] for path in RENAMED} | set(GATHERED)
    assert all(f"{word}:" in OLD for word in words - {"*"})


def test_the_current_version_is_left_alone() -> None:
    assert migrate(NEW).text == NEW
    assert migrate(NEW).steps == ()


def test_keys_that_lie_apart_are_gathered_where_the_first_stood() -> None:
    text = 'cloud: {}\nversion: "0.9"\nhpc:\n  nodes: {count: 1, cpus: 1, memory: 1}\nname: x'
    migrated = migrate(text).text
    assert migrated == (
        "clusters:\n  cloud: {}\n  hpc:\n    compute_nodes: {count: 1, cpu_cores: 1, memory_gb: 1}\n"
        'version: "1.0"\nmetadata:\n  name: x\n'
    )
    assert parse(migrated).spec.name == "x"


def test_a_version_without_quotes_is_understood() -> None:
    assert migrate("version: 0.9\nname: x\n").text == 'version: "1.0"\nmetadata:\n  name: x\n'


@pytest.mark.parametrize(
    ("text", "message", "todo"),
    [
        ('version: "2.0"\n', "there is no version '2.0'", "There are: 0.9, 1.0."),
        ("name: x\n", "'version' is missing", "There are: 0.9, 1.0."),
        ('version: "0.9"\nname: x\nmetadata: {name: y}\n', "'name' and 'metadata' are both there", "Keep one"),
        ('version: "0.9"\nhpc: {nodes: {}, compute_nodes: {}}\n', "'nodes' and 'compute_nodes' are both", "Keep one"),
        ('{version: "0.9", name: x}\n', "the whole file is in braces", "a line of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over(text: str, message: str, todo: str) -> None:
    with pytest.raises(SpecError) as caught:
        migrate(text)
    assert message in caught.value.problems[0].message
    assert todo in (caught.value.problems[0].todo or "")


def test_the_command_shows_and_with_write_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(OLD)
    file.chmod(0o640)
    assert main(["migrate", "--file", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "-hpc:" in shown and "+  hpc:" in shown and "--write" in shown
    assert file.read_text() == OLD
    assert main(["migrate", "--file", str(file), "--write"]) == 0
    assert file.read_text() == NEW
    assert file.stat().st_mode & 0o777 == 0o640
    capsys.readouterr()
    assert main(["migrate", "--file", str(file)]) == 0
    assert "Nothing to do" in capsys.readouterr().out


def test_a_mistake_that_was_there_before_is_told_but_keeps_no_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(OLD.replace("count: 4", "count: 0"))
    assert main(["migrate", "--file", str(file), "--write"]) == 3
    assert "compute_nodes.count" in capsys.readouterr().err
    assert file.read_text() == NEW.replace("count: 4", "count: 0")


def test_a_file_of_an_older_version_is_sent_here() -> None:
    with pytest.raises(SpecError) as caught:
        parse(OLD)
    [problem] = caught.value.problems
    assert "is of version 0.9, and this ai-how reads 1.0" in problem.message
    assert "ai-how migrate" in (problem.todo or "")
