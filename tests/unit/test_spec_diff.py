"""Two files compared by meaning, and what ``up`` would do: the table is held against the services' definitions."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from pydantic import ValidationError

from ai_how.cli import main
from ai_how.errors import AiHowError
from ai_how.gpu.allocation import Allocation, allocate
from ai_how.host.model import Found
from ai_how.services import Layout, Setting, catalogue
from ai_how.services.catalogue import SECRETS, port_names
from ai_how.services.model import Host
from ai_how.spec import parse
from ai_how.spec.checks import cross_check
from ai_how.spec.diff import Kind, diff, where
from ai_how.spec.diff_effects import RULES, Effect, consequence, rule_of
from ai_how.spec.keys import Key, keys
from ai_how.spec.load import tuples
from ai_how.spec.merge import Layer, merge, setting
from ai_how.spec.model import SiteSpec
from ai_how.spec.provenance import dotted, leaves, plain
from ai_how.spec.template import laptop, template


def changes(old: str, new: str) -> list[tuple[str, str, str]]:
    return [
        (change.kind, ".".join(change.path), change.words)
        for change in diff(parse(old).spec, parse(new).spec)
    ]


def edited(*pairs: tuple[str, str], text: str = "") -> str:
    text = text or laptop()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


DEBUG = '        - {name: debug, nodes: 2, max_time: "00:30:00"}\n'
GPU = "        - gpu                     # all nodes\n"
HPC = "clusters.hpc"


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([("count: 4 ", "count: 6 ")], [("changed", f"{HPC}.compute_nodes.count", "4 -> 6")]),
        ([("mlflow: {}", "mlflow: {port: 5000}")], [("added", "clusters.cloud.services.mlflow.port", "5000")]),
        ([(DEBUG, "")], [("removed", f"{HPC}.slurm_config.partitions.debug", '{nodes: 2, max_time: "00:30:00"}')]),
        ([(GPU, GPU + "        - long\n")], [("added", f"{HPC}.slurm_config.partitions.long", "{}")]),
        (
            [("name: debug,", "name: short,")],
            [("renamed", f"{HPC}.slurm_config.partitions.short", f"was {HPC}.slurm_config.partitions.debug")],
        ),
        (
            [(GPU + DEBUG, DEBUG + GPU), ("default_partition", "default_partition")],
            [("moved", f"{HPC}.slurm_config.partitions", "[gpu, debug] -> [debug, gpu]")],
        ),
        (
            [("model: a100, count: 2", "model: a100, count: 3")],
            [("changed", f"{HPC}.compute_nodes.devices.a100.count", "2 -> 3")],
        ),
        (
            [('"Slurm and the MLOps services on one machine"', "ours")],
            [("changed", "metadata.description", '"Slurm and the MLOps services on one machine" -> ours')],
        ),
    ],
)  # fmt: skip
def test_what_differs(pairs: list[tuple[str, str]], found: list[tuple[str, str, str]]) -> None:
    assert changes(laptop(), edited(*pairs)) == found


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("# nothing phones home", "# never")],
        [("      cpu_cores: 2\n", "      gpu_enabled: false\n      cpu_cores: 2\n      disk_gb: null\n")],
        [("        - gpu  ", "        - {name: gpu}  ")],
        [("mlflow: {}", "mlflow: {enabled: true, port: null}")],
        [("global:\n  telemetry: false", "global: {}")],
        [
            ("provider: local               # every", "# every"),
            ("    provider: local\n    services", "    services"),
        ],
    ],
)
def test_what_makes_no_difference(pairs: list[tuple[str, str]]) -> None:
    assert changes(laptop(), edited(*pairs)) == []


def test_a_group_with_another_name_is_renamed_and_its_order_means_nothing() -> None:
    old = template("production")
    new = edited(
        ("name: slices  ", "name: thin  "), ("[slices]", "[thin]"), ("nodes.slices", "nodes.thin"), text=old
    )
    assert ("renamed", f"{HPC}.compute_nodes.thin", f"was {HPC}.compute_nodes.slices") in changes(old, new)
    assert ("changed", f"{HPC}.slurm_config.partitions.interactive.groups", "[slices] -> [thin]") in changes(
        old, new
    )
    assert len(changes(old, new)) == 3


def test_what_goes_here_and_comes_there_was_moved() -> None:
    # Two settings that differ from their defaults are enough to know the thing again.
    libvirt = "provider: libvirt\n    libvirt: {pool: fast, autostart: true}\n"
    hpc = "    provider: local               # every node is a process on this machine\n"
    cloud = "    provider: local\n    services:"
    old = edited((hpc, f"    {libvirt}"))
    new = edited((cloud, f"    {libvirt}    services:"))
    found = [change for change in diff(parse(old).spec, parse(new).spec) if change.path[-1] != "provider"]
    assert [(one.kind, one.path[1], one.former[1]) for one in found] == [(Kind.MOVED, "cloud", "hpc")]


def test_a_difference_knows_its_line() -> None:
    old = parse(laptop(), "a.yaml")
    new = parse(edited((DEBUG, ""), ("count: 4 ", "count: 6 ")), "b.yaml")
    assert [where(change, old, new) for change in diff(old.spec, new.spec)] == [
        "b.yaml:14:14",
        "a.yaml:22:11",
    ]


# --- what up would do ---------------------------------------------------------------------------------


def defined(spec: SiteSpec, gpus: Allocation) -> Mapping[str, str]:
    """The digest of every service that the file asks for: what ``up`` compares with what runs."""
    slurmctld = Found("slurmctld", Path("/usr/sbin/slurmctld"), "22.05.8", "path", {}, None)
    services = catalogue(
        Setting(
            spec=spec,
            layout=Layout(Path("/srv/ada/site")),
            host=Host("box", "ada", False, tuple(f"/dev/tty{number}" for number in range(1, 60))),
            # As the site does, which keeps the ports that it chose: a name has the same in both.
            ports={name: asked or 20000 + crc32(name.encode()) % 9999 for name, asked in port_names(spec)},
            programs={"slurmctld": slurmctld},
            environments={},
            secrets=dict.fromkeys(SECRETS, "s"),
            python=Path("/opt/python"),
            gpus=gpus,
        )
    )
    return {service.name: service.digest for service in services}


def told_right(old: SiteSpec, new: SiteSpec, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What the table says otherwise than the definitions; empty when it is right."""
    found = [consequence(change, old, new) for change in diff(old, new)]
    said = {service for one in found for service in one.services}
    other = [name for name in before.keys() & after.keys() if before[name] != after[name]]
    restarted = {"slurmd" if name.startswith("slurmd-") else name for name in other}
    come, gone = after.keys() - before.keys(), before.keys() - after.keys()
    if come or gone:  # what they had goes to others: no single change says that
        restarted -= {"slurmd"}
    right = (
        (restarted == said if all(one.certain for one in found) else restarted <= said)
        and bool(gone) == any(one.effect is Effect.DRAIN for one in found)
        and bool(come and not gone) == any(one.effect is Effect.ADD for one in found)
    )
    return "" if right else f"restarted: {restarted}, added: {come}, removed: {gone}; told: {found}"


WORKSTATION = template("workstation")
GPUS = "clusters.cloud.worker_nodes.gpu_workers"


@pytest.mark.parametrize(
    ("base", "assignment"),
    [
        (laptop(), "metadata.description=x"),
        (laptop(), "global.telemetry=true"),
        (laptop(), "global.networks.hpc_network={subnet: 10.0.0.0/24}"),
        (laptop(), "clusters.hpc.controller.cpu_cores=2"),
        (laptop(), "clusters.hpc.compute_nodes.count=6"),
        (laptop(), "clusters.hpc.compute_nodes.count=3"),
        (laptop(), "clusters.hpc.compute_nodes.cpu_cores=3"),
        (laptop(), "clusters.hpc.compute_nodes.memory_gb=3"),
        (laptop(), "clusters.hpc.compute_nodes.disk_gb=3"),
        (laptop(), "clusters.hpc.compute_nodes.devices={a100: {count: 1}}"),
        (laptop(), "clusters.hpc.slurm_config.max_job_time='2-00:00:00'"),
        (laptop(), "clusters.hpc.slurm_config.default_job_time='00:10:00'"),
        (laptop(), "clusters.hpc.slurm_config.default_partition=debug"),
        (laptop(), "clusters.hpc.slurm_config.partitions={debug: {nodes: 1}}"),
        (laptop(), "clusters.hpc.slurm_config.partitions={debug: {priority: 3}}"),
        (laptop(), "clusters.hpc.slurm_config.qos=[{name: high, priority: 10}]"),
        (laptop(), "clusters.hpc.slurm_config.accounts=[{name: lab}]"),
        (laptop(), "clusters.hpc.slurm_config.accounting.retention_days=3"),
        (laptop(), "clusters.cloud.services.postgresql.port=15999"),
        (laptop(), "clusters.cloud.services.object_store.port=15999"),
        (laptop(), "clusters.cloud.services.mlflow.port=15999"),
        (laptop(), "clusters.cloud.services.gateway.port=15999"),
        (laptop(), "clusters.cloud.services.mlflow.enabled=false"),
        (laptop(), "monitoring.alerts.disk_used_percent=80"),
        (template("existing"), "clusters.hpc.existing.host=other.hpc.example"),
        (template("existing"), "clusters.hpc.existing.jobs={account: p1}"),
        (WORKSTATION, "clusters.hpc.compute_nodes.ip_range=192.168.100.21-24"),
        (WORKSTATION, "clusters.cloud.kubernetes_config.cni=cilium"),
        (WORKSTATION, "clusters.cloud.control_plane.cpu_cores=2"),
        (WORKSTATION, "clusters.cloud.worker_nodes.cpu_workers.cpu_cores=2"),
        (WORKSTATION, "global.gpu_allocation.devices={GPU-1: {model: NVIDIA A30}}"),
        (WORKSTATION, "global.gpu_allocation.devices={GPU-0: {pci_address: '0000:66:00.0'}}"),
        (WORKSTATION, f"{GPUS}={{count: 2, ip_range: 192.168.200.12-13}}"),
        (WORKSTATION, f"{GPUS}={{count: 4, ip_range: 192.168.200.12-15}}"),
        (WORKSTATION, f"{GPUS}.cpu_cores=4"),
    ],
)  # fmt: skip
def test_the_table_says_what_up_goes_by(base: str, assignment: str) -> None:
    merged = merge(Layer("base.yaml", base), setting(assignment))
    old, new = parse(base).spec, merged.file.spec
    assert diff(old, new)
    assert told_right(old, new, defined(old, allocate(old)), defined(new, allocate(new))) == ""


def others(key: Key, value: object) -> Iterator[object]:
    """Values that may stand in the place of another one."""
    match value:
        case bool():
            yield not value
        case int():
            yield from (value + 1, value - 1)
        case _ if key.allowed:
            yield from (other for other in key.allowed if other != value)
        case str():
            yield from (f"{value}x", "02:00:00", "10.20.0.77")
        case None:
            yield from (3, "00:10:00", "x", "10.20.0.77")


def put(data: Any, path: tuple[Any, ...], value: object) -> SiteSpec:
    data = copy.deepcopy(data)
    holder = data
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    spec = SiteSpec.model_validate(tuples(data))
    assert not list(cross_check(spec))
    return spec


#: Changes of these may change who has which GPU; placing them is slow.
PLACED = ("gpu_allocation", "compute_nodes", "worker_nodes")


@pytest.mark.parametrize(("kind", "least"), [("laptop", 40), ("workstation", 60), ("production", 90)])
def test_the_table_is_right_for_every_value_that_can_be_changed(kind: str, least: int) -> None:
    old = parse(template(kind)).spec
    data, gpus = plain(old), allocate(old)
    before, tried, wrong = defined(old, gpus), 0, []
    for path, value in leaves(data):
        placed = any(part in PLACED for part in path)
        if placed and kind == "production":
            continue
        for other in others(keys()[tuple(part for part in path if isinstance(part, str))], value):
            try:
                new = put(data, path, other)
                after = defined(new, allocate(new) if placed else gpus)
            except (ValidationError, AssertionError, AiHowError):
                continue
            tried += 1
            if said := told_right(old, new, before, after):
                wrong.append(f"{dotted(path)}: {value} -> {other}: {said}")
            break
    assert wrong == []
    assert tried >= least


def lists(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every list of two or more."""
    if isinstance(data, list) and len(data) > 1:
        yield path
    for key, value in (
        data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    ):
        yield from lists(value, (*path, key))


@pytest.mark.parametrize("kind", ["workstation", "production"])
def test_the_table_is_right_for_every_order(kind: str) -> None:
    old = parse(template(kind)).spec
    data, before = plain(old), defined(old, allocate(old))
    wrong, tried = [], 0
    for path in lists(data):
        other = copy.deepcopy(data)
        held = other
        for part in path:
            held = held[part]
        held.reverse()
        new = SiteSpec.model_validate(tuples(other))
        tried += 1
        if said := told_right(old, new, before, defined(new, allocate(new))):
            wrong.append(f"{dotted(path)}: {said}")
    assert wrong == []
    assert tried >= 4


def test_another_name_is_another_site() -> None:
    [change] = diff(parse(laptop()).spec, parse(laptop("other")).spec)
    found = consequence(change, parse(laptop()).spec, parse(laptop("other")).spec)
    assert "another site" in found.what


def test_another_provider_means_to_begin_anew() -> None:
    old, new = parse(laptop()).spec, parse(template("existing", "laptop")).spec
    found = [consequence(change, old, new) for change in diff(old, new)]
    assert Effect.RECREATE in {one.effect for one in found}


def test_nodes_are_named() -> None:
    old, new = parse(laptop()).spec, parse(edited(("count: 4 ", "count: 9 "))).spec
    assert consequence(diff(old, new)[0], old, new).what == "adds node05 to node09; restarts slurmctld"
    assert consequence(diff(new, old)[0], new, old).what.startswith(
        "drains node05 to node09, waits for their jobs"
    )


def test_every_key_has_a_rule_and_every_rule_a_key() -> None:
    ruled = {tuple(rule.split(".")) for rule in RULES}
    around = {path[:depth] for path in ruled for depth in range(1, 4)} - ruled
    assert all(rule_of(path) for path in keys() if path not in around)
    assert not set(RULES) - {".".join(path) for path in keys()}


# --- the command --------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "a.yaml", tmp_path / "b.yaml"
    old.write_text(laptop())
    new.write_text(laptop())
    assert main(["diff", str(old), str(new)]) == 0
    assert "mean the same" in capsys.readouterr().out
    new.write_text(edited(("count: 4 ", "count: 6 ")))
    assert main(["diff", str(old), str(new)]) == 1
    printed = capsys.readouterr().out
    assert "changed  clusters.hpc.compute_nodes.count  4 -> 6" in printed
    assert f"{new}:14:14" in printed and "up adds node05 and node06; restarts slurmctld" in printed
    assert main(["diff", str(old), str(new), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["same"] is False and facts["refused"] == []
    [change] = facts["changes"]
    assert (change["old"], change["new"], change["effect"], change["services"]) == (
        4,
        6,
        "add",
        ["slurmctld"],
    )


def test_what_up_refuses_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "a.yaml", tmp_path / "b.yaml"
    old.write_text(laptop())
    new.write_text(template("production", "laptop"))
    assert main(["diff", str(old), str(new)]) == 1
    assert "provider libvirt is not there yet" in capsys.readouterr().out
