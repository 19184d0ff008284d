"""What the file asks for against what this machine has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ai_how.errors import AiHowError, SpecError
from ai_how.gpu.allocation import Allocation, allocate
from ai_how.host.inventory import Inventory
from ai_how.services import Layout
from ai_how.site import check
from ai_how.spec import parse
from ai_how.spec.template import laptop, template

FILE = parse(laptop())
NONE = Allocation()
DEVICES = (Path("/dev/tty1"), Path("/dev/tty2"))
ROOMY = Inventory("box", "ann", False, 64, 256 * check.GIB, 500 * check.GIB, DEVICES)
LAYOUT = Layout(Path("/home/ann/.local/share/ai-how/sites/laptop"))


def test_a_machine_that_has_it_all_is_told_nothing() -> None:
    assert check.warnings(FILE, ROOMY, NONE) == []
    check.refuse(FILE, LAYOUT, ROOMY, NONE)


def test_more_than_the_host_has_is_a_warning_with_its_place() -> None:
    small = replace(ROOMY, cpus=2, memory=8 * check.GIB)
    cpus, memory = check.warnings(FILE, small, NONE)
    assert cpus.startswith("cluster.yaml:15:18: 4 nodes of 2 CPUs are 8, this machine has 2")
    assert memory.startswith("cluster.yaml:16:18: the nodes and the controller have 17 GiB")


def test_nodes_for_which_no_gpu_is_left_are_named() -> None:
    file = parse(template("workstation").replace("{hpc: 4, cloud: 3}", "{hpc: 2, cloud: 3}"))
    (told,) = check.warnings(file, ROOMY, allocate(file.spec))
    assert told.startswith("cluster.yaml:39:20: node[03-04]: no GPU is left")


@pytest.mark.parametrize("kind", ["existing", "production"])
def test_only_the_provider_local_is_warned_of_nodes_that_share_this_machine(kind: str) -> None:
    small = replace(ROOMY, cpus=2, memory=8 * check.GIB, loopback_name=False)
    assert check.warnings(parse(template(kind)), small, NONE) == []


def test_a_name_that_leads_away_from_loopback_is_a_warning() -> None:
    assert "listen on every interface" in check.warnings(FILE, replace(ROOMY, loopback_name=False), NONE)[0]


def test_a_full_disk_is_refused() -> None:
    with pytest.raises(AiHowError, match=r"the disk has too little room: 0\.5 GiB are free") as caught:
        check.refuse(FILE, LAYOUT, replace(ROOMY, disk_free=check.GIB // 2), NONE)
    assert "--root" in (caught.value.todo or "")


def test_more_devices_than_stand_ins_are_refused_with_their_place() -> None:
    with pytest.raises(SpecError, match="1 mistake") as caught:
        check.refuse(FILE, LAYOUT, replace(ROOMY, devices=(Path("/dev/tty1"),)), NONE)
    assert "2 simulated devices a node are asked for" in (caught.value.detail or "")
    assert caught.value.problems[0].line > 1


def test_a_path_is_refused_exactly_where_the_kernel_would() -> None:
    longest = check.SOCKET_LIMIT - len(check.LONGEST_SOCKET) - 1
    check.refuse(FILE, Layout(Path("/" + "x" * (longest - 1))), ROOMY, NONE)
    with pytest.raises(AiHowError, match="too long a path"):
        check.refuse(FILE, Layout(Path("/" + "x" * longest)), ROOMY, NONE)


@pytest.mark.parametrize("name", ["a b", "it's", "100%", "a,b", "a#b", 'a"b', "a$b", "a=b", "a;b", "a\nb"])
def test_a_path_that_configuration_files_would_misread_is_refused(name: str) -> None:
    with pytest.raises(AiHowError, match="has a path with"):
        check.refuse(FILE, Layout(Path("/srv") / name), ROOMY, NONE)


def test_names_of_every_script_are_fine() -> None:
    check.refuse(FILE, Layout(Path("/srv/größe-日本_1.0+x@y")), ROOMY, NONE)
