"""What ``ai-how init`` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.cli import COMMANDS, main
from ai_how.cli.init import TEMPLATES
from ai_how.gpu.allocation import allocate
from ai_how.site.unsupported import unsupported
from ai_how.spec import parse
from ai_how.spec.provenance import Source, values
from ai_how.spec.template import PURPOSES, laptop, template

EXAMPLES = Path(__file__).parents[2] / "examples" / "clusters"


@pytest.mark.parametrize("kind", PURPOSES)
def test_a_template_is_valid_and_can_be_named(kind: str) -> None:
    assert parse(template(kind)).spec.name == kind
    assert parse(template(kind, "mine")).spec.name == "mine"
    assert all(len(line) <= 120 for line in template(kind).splitlines())


@pytest.mark.parametrize("kind", [kind for kind in PURPOSES if kind != "laptop"])
def test_the_examples_are_what_init_writes(kind: str) -> None:
    assert (EXAMPLES / f"{kind}.yaml").read_text() == template(kind)


def test_the_laptop_is_the_one_that_everybody_begins_with() -> None:
    assert template("laptop", "mine") == laptop("mine")


@pytest.mark.parametrize("kind", ["laptop", "workstation"])
def test_what_is_emulated_asks_for_nothing_that_is_not_there_yet(kind: str) -> None:
    assert list(unsupported(parse(template(kind)).spec)) == []


def test_the_workstation_gives_away_all_slices_and_the_other_gpu() -> None:
    spec = parse(template("workstation")).spec
    entries = allocate(spec).entries
    assert [entry.node for entry in entries if entry.grant.slice is None] == ["gpu-worker01"]
    assert [entry.grant.slice.profile for entry in entries if entry.grant.slice] == ["1g.10gb"] * 7
    assert {group.provider for group in (spec.clusters.hpc, spec.clusters.cloud)} == {"local"}


def test_production_fills_in_what_people_depend_on() -> None:
    spec = parse(template("production")).spec
    cloud, slurm = spec.clusters.cloud, spec.clusters.hpc.slurm_config
    assert cloud.control_plane is not None and cloud.control_plane.high_availability
    assert slurm.qos and slurm.accounts and slurm.accounting.enabled and slurm.preemption.type == "qos"
    assert spec.security.tls.enabled and spec.monitoring.enabled and spec.backup.enabled
    assert len(allocate(spec).entries) == 7
    said = {value.path[0] for value in values(parse(template("production"))) if value.source is Source.FILE}
    assert said == {
        "version",
        "metadata",
        "global",
        "clusters",
        "serving",
        "security",
        "monitoring",
        "backup",
    }


def test_existing_says_where_it_is() -> None:
    existing = parse(template("existing")).spec.clusters.hpc.existing
    assert existing is not None and existing.user == "ann"


def test_init_knows_every_template() -> None:
    assert tuple(PURPOSES) == TEMPLATES
    assert "init" in COMMANDS["the file"]


@pytest.mark.parametrize("kind", PURPOSES)
def test_init_writes_it(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cluster.yaml"
    assert main(["init", str(file), "--template", kind]) == 0
    assert file.read_text() == template(kind)
    assert main(["init", str(file), "--template", kind]) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert main(["init", "--template", kind, "--name", "mine", "--stdout"]) == 0
    assert capsys.readouterr().out == template(kind, "mine")


def test_init_with_a_schema_for_editors(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    assert main(["init", str(file), "--schema"]) == 0
    assert file.read_text() == "# yaml-language-server: $schema=cluster.schema.json\n" + laptop()
    assert (tmp_path / "cluster.schema.json").read_text().startswith("{")
    assert parse(file.read_text()).spec.name == "laptop"
