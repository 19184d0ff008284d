"""What is rendered for a site, compared whole. ``AI_HOW_WRITE_GOLDEN=1`` writes the files anew, to be looked at."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ai_how.gpu.allocation import allocate
from ai_how.host.model import Found
from ai_how.providers.local import render as supervisor
from ai_how.providers.model import Observation, Observed, State
from ai_how.services import Layout, Service, Setting, catalogue, gateway
from ai_how.services.catalogue import SECRETS, port_names
from ai_how.services.model import File, Host, HttpProbe
from ai_how.services.slurm import cluster
from ai_how.site.plan import make
from ai_how.slurm import render
from ai_how.spec import parse
from ai_how.spec.template import laptop, template

GOLDEN = Path(__file__).parent / "site"
SPEC = parse(laptop()).spec
LAYOUT = Layout(Path("/srv/ada/site"))


def setting(spec_text: str = "", **host: object) -> Setting:
    spec = parse(spec_text).spec if spec_text else SPEC
    slurmctld = Found("slurmctld", Path("/usr/sbin/slurmctld"), "22.05.8", "path", {}, None)
    return Setting(
        spec=spec,
        layout=LAYOUT,
        host=replace(Host("box", "ada", False, ("/dev/tty1", "/dev/tty2")), **host),  # type: ignore[arg-type]
        ports={name: 15000 + index for index, (name, _) in enumerate(port_names(spec))},
        programs={"slurmctld": slurmctld},
        environments={"mlflow": Path("/home/ada/envs/mlflow/bin/python")},
        secrets={name: f"the-secret-of-{name}" for name in SECRETS},
        python=Path("/opt/ai-how/bin/python"),
    )


def same(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("AI_HOW_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def service(name: str, **host: object) -> Service:
    return next(one for one in catalogue(setting(**host)) if one.name == name)


def test_slurm_conf() -> None:
    same("slurm.conf", render.slurm_conf(cluster(setting())))


def test_slurm_conf_where_the_name_of_the_host_is_no_loopback_address_and_nodes_are_bare() -> None:
    text = (
        laptop()
        .replace("        - {model: a100, count: 2}\n", "")
        .replace("      devices: ", "      devices: []")
    )
    assert "devices: []" in text
    config = cluster(setting(text, loopback_name=False))
    same(
        "slurm-bare.conf", render.slurm_conf(replace(config, plugin_folder=Path("/home/ada/programs/slurm")))
    )


def test_slurm_conf_with_qos_and_preemption() -> None:
    text = laptop().replace(
        "      max_job_time:",
        "      qos: [{name: low}, {name: high, preempt: [low]}]\n"
        "      preemption: {type: qos, mode: requeue}\n      max_job_time:",
    ).replace("{name: debug, nodes: 2,", "{name: debug, nodes: 2, qos: high, priority: 10,")  # fmt: skip
    same("slurm-qos.conf", render.slurm_conf(cluster(setting(text))))


def test_slurm_conf_with_partitions_that_preempt() -> None:
    text = laptop().replace(
        "      max_job_time:",
        "      preemption: {type: partition, mode: cancel, send_user_signal: true}\n      max_job_time:",
    ).replace(
        "{name: debug, nodes: 2,",
        "{name: first, priority: 10, preempt_mode: off}\n"
        "        - {name: second, priority: 5, preempt_mode: requeue, grace_time: 90s}\n"
        "        - {name: debug, grace_time: 2m, nodes: 2,",
    )  # fmt: skip
    config = cluster(setting(text))
    same("slurm-preemption.conf", render.slurm_conf(config))
    newer = render.slurm_conf(replace(config, version=(24, 11)))
    assert [line for line in newer.splitlines() if line not in render.slurm_conf(config).splitlines()] == [
        "PreemptParameters=send_user_signal"
    ]


def test_the_workstations_slices_in_gres_conf() -> None:
    spec = parse(template("workstation")).spec
    config = cluster(replace(setting(template("workstation")), gpus=allocate(spec)))
    same("slurm-workstation.conf", render.slurm_conf(config))
    same("gres-workstation.conf", render.gres_conf(config))


def test_gres_conf() -> None:
    same("gres.conf", render.gres_conf(cluster(setting())))


@pytest.mark.parametrize("version", [(22, 5), (23, 11), (24, 11)])
def test_cgroup_conf(version: tuple[int, int]) -> None:
    text = render.cgroup_conf(replace(cluster(setting()), version=version))
    same(f"cgroup-{version[0]}.{version[1]:02d}.conf", text or "")


def test_slurmdbd_conf() -> None:
    same("slurmdbd.conf", render.slurmdbd_conf(cluster(setting()), storage_user="ada"))


def test_supervisord_conf() -> None:
    same("supervisord.conf", supervisor.supervisord_conf(LAYOUT, "ada"))


@pytest.mark.parametrize("name", ["object-store", "slurmd-node01"])
def test_the_program_of_a_service(name: str) -> None:
    text = supervisor.program_conf(LAYOUT, service(name))
    assert "the-secret-of" not in text
    same(f"{name}.conf", text.replace(service(name).digest, "DIGEST"))


def test_a_service_of_another_account() -> None:
    one = service("postgresql", is_root=True, user="root")
    same("postgresql-as-root.conf", supervisor.program_conf(LAYOUT, one).replace(one.digest, "DIGEST"))


def test_the_plan_of_a_first_up() -> None:
    services = catalogue(setting())
    nothing = Observed({one.name: Observation(one.name, State.ABSENT) for one in services})
    plan = make(services, nothing, {"weed": "SeaweedFS, the object store (S3)"})
    same("first-plan.json", json.dumps([step.as_json() for step in plan.steps], indent=2) + "\n")


def test_no_service_has_a_secret_in_its_argument_list() -> None:
    for one in catalogue(setting()):
        assert not [word for word in one.argv if "the-secret-of" in word]


def test_a_digest_changes_with_what_a_restart_is_needed_for() -> None:
    one = service("gateway")
    assert replace(one, purpose="other words", stop_seconds=99).digest == one.digest
    assert replace(one, argv=(*one.argv, "--more")).digest != one.digest
    assert replace(one, env={"MORE": "1"}).digest != one.digest
    assert replace(one, files=(File(Path("/x"), "other text"),)).digest != one.digest


def test_more_nodes_restart_the_controller_and_no_other_node() -> None:
    def digests(count: int) -> dict[str, str]:
        wider = setting(laptop().replace("count: 4 ", f"count: {count} "))
        return {one.name: one.digest for one in catalogue(wider)}

    # Ports are recorded and kept on a real site; here they follow from the order, in which nodes come last.
    before, after = digests(4), digests(6)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"slurmctld"}


EXPOSED = "security:\n  tls: {enabled: true, names: [box.example.org, 10.0.0.7]}\n  expose: [gateway]\n"


@pytest.mark.parametrize("exposed", [False, True])
def test_gateway(exposed: bool) -> None:
    made = setting(laptop() + EXPOSED if exposed else "")
    one = next(one for one in catalogue(made) if one.name == "gateway")
    file = next(file for file in one.files if file.path.name == "gateway.json")
    same(f"gateway{'-exposed' if exposed else ''}.json", file.text)
    assert isinstance(one.probe, HttpProbe)
    assert one.probe.url.startswith("https://" if exposed else "http://")
    assert (one.probe.ca == LAYOUT.tls / "ca.pem") is exposed
    assert gateway.certificate_names(made)[-1] == ("10.0.0.7" if exposed else "box")
