"""What other tools are told of a placement."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace

import pytest
import yaml
from sample_gpus import DEVICES, ENTRIES, PLACEMENT, granted, kind, same

from ai_how.gpu import render
from ai_how.gpu.model import Device, Held, Slice
from ai_how.gpu.render import Told
from ai_how.kube import render as kube

TOLD = {
    "GPU-0": Told(0, "NVIDIA A100 80GB PCIe", {"1g.10gb": 9728, "1g.10gb+me": 9728}),
    "GPU-1": Told(2, "NVIDIA A100-SXM4-80GB", {"2g.20gb": 19968, "3g.40gb": 40192}),
}


def test_mig_parted_file() -> None:
    text = render.mig_parted(DEVICES, ENTRIES, {}, name="sample")
    same("mig-parted.yaml", text)
    facts = yaml.safe_load(text)
    assert set(facts) == {"version", "mig-configs"} and facts["version"] == "v1"
    parts = {part["devices"][0]: part for part in facts["mig-configs"]["sample"]}
    assert parts[0]["mig-devices"] == {"1g.10gb": 6, "1g.10gb+me": 1}
    assert parts[1]["mig-devices"] == {"2g.20gb": 1, "3g.40gb": 1}
    assert parts[4] == {"devices": [4], "mig-enabled": False}
    assert 3 not in parts, "a device that nobody has is left alone"


def test_mig_parted_counts_devices_as_nvml_does() -> None:
    assert render.indexes(DEVICES, {})["GPU-2"] == 2
    assert render.indexes(DEVICES[::-1], {}) == render.indexes(DEVICES, {})
    assert render.indexes(DEVICES, TOLD)["GPU-1"] == 2


def test_nobody_has_anything() -> None:
    assert yaml.safe_load(render.mig_parted(DEVICES, (), {}, name="x")) == {"version": "v1"}
    assert "nvidia-smi" not in render.nvidia_smi(DEVICES, ()).partition("set -eu")[2]


def test_nvidia_smi_commands() -> None:
    text = render.nvidia_smi(DEVICES, ENTRIES, PLACEMENT.left)
    same("nvidia-smi.sh", text)
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("nvidia-smi mig")]
    created = {words[3]: words[5].split(",") for words in commands if "-cgi" in words}
    assert created["0000:65:00.0"] == ["19:0", "19:1", "19:2", "20:3", "19:4", "19:5", "19:6"]
    assert created["0000:ca:00.0"] == ["14:0"], "what is kept is not made again"
    assert created["0001:01:00.0"] == ["5:0", "14:9"]


def test_no_command_is_written_for_a_device_that_nothing_names() -> None:
    device = Device("mine", kind("a100-80"))
    text = render.nvidia_smi([device], [granted("hpc", "mine", 0, "7g.80gb")])
    assert "pci_address" in text and "nvidia-smi -i" not in text
    parted = render.mig_parted([device], [granted("hpc", "mine", 0, "7g.80gb")], {}, name="x")
    assert "a guess" in parted


def test_a_device_that_is_given_as_a_whole_is_emptied_first() -> None:
    device = Device("mine", kind("a100-80"), "0000:65:00.0", held=(Held(Slice("mine", 0, "1g.10gb")),))
    text = render.nvidia_smi([device], [granted("hpc", "mine")])
    assert text.index(" -dci") < text.index(" -dgi") < text.index(" -mig 0")


def test_nvidia_smi_empties_a_device_where_nothing_is_kept() -> None:
    entries = [granted("hpc", "GPU-1", 0, "7g.80gb")]
    text = render.nvidia_smi([DEVICES[1]], entries)
    order = [text.index(word) for word in ("-mig 1", "-dci", "-dgi", "-cgi 0:0 -C", "-lgi")]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("product", "profile", "mib", "expected"),
    [
        # Seen in job scripts of clusters whose slurmd asks NVML.
        ("NVIDIA H100 80GB HBM3", "1g.10gb", None, "nvidia_h100_80gb_hbm3_1g.10gb"),
        ("NVIDIA A100 80GB PCIe", "3g.40gb", 40192, "nvidia_a100_80gb_pcie_3g.39gb"),
        ("NVIDIA A100-SXM4-80GB", "3g.40gb", 40192, "nvidia_a100_3g.39gb"),
        ("NVIDIA A100-SXM4-80GB", "1g.10gb+me", 9728, "nvidia_a100_1g.10gb"),
    ],
)
def test_types_as_slurmd_detects_them(product: str, profile: str, mib: int | None, expected: str) -> None:
    device = Device("GPU-0", kind(product))
    told = Told(0, product, {profile: mib} if mib else {})
    assert render.detected_type(device, Slice("GPU-0", 0, profile), told) == expected


def test_a_whole_device_keeps_its_whole_name() -> None:
    assert render.detected_type(Device("GPU-0", kind("a100")), None) == "nvidia_a100-sxm4-80gb"


def test_simulated_types_are_short() -> None:
    device = Device("GPU-0", kind("a100"))
    assert render.simulated_type(device, Slice("GPU-0", 0, "1g.10gb")) == "a100_1g.10gb"
    assert render.simulated_type(device, None) == "a100"


def test_an_unknown_profile_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError, match=r"9g\.90gb"):
        render.detected_type(DEVICES[0], Slice("GPU-0", 0, "9g.90gb"))


def test_gres() -> None:
    same("gres.conf", render.gres(DEVICES, ENTRIES, {}))
    nodes = render.node_gres(DEVICES, ENTRIES, TOLD)
    assert nodes["node01"] == "gpu:nvidia_a100_3g.39gb:1,gpu:nvidia_a100_80gb_pcie_1g.10gb:1"
    assert "predicted" not in render.gres(DEVICES[:2], ENTRIES[:8], TOLD)
    assert not [node for node in nodes if node.startswith("worker")], "the cloud's nodes are not Slurm's"


def test_kubernetes() -> None:
    text = kube.device_plugin(DEVICES, ENTRIES)
    same("device-plugin.yaml", text)
    facts = yaml.safe_load(text)
    for name, config in facts["config"]["map"].items():
        assert yaml.safe_load(config) == {"version": "v1", "flags": {"migStrategy": name}}


@pytest.mark.parametrize(
    ("profile", "strategy", "expected"),
    [
        ("1g.10gb", "mixed", "nvidia.com/mig-1g.10gb"),
        ("1g.10gb+me", "mixed", "nvidia.com/mig-1g.10gb.me"),
        ("1g.10gb", "single", "nvidia.com/gpu"),
        (None, "mixed", "nvidia.com/gpu"),
    ],
)
def test_kubernetes_resources(profile: str | None, strategy: kube.Strategy, expected: str) -> None:
    assert kube.resource(profile, strategy) == expected


def test_the_single_strategy_wants_slices_of_one_size() -> None:
    small = [granted("cloud", "GPU-0", start, "1g.10gb") for start in (0, 1)]
    assert kube.strategy_of(small) == "single"
    assert kube.strategy_of([*small, granted("cloud", "GPU-0", 4, "3g.40gb")]) == "mixed"
    assert kube.strategy_of([*small, granted("cloud", "GPU-4")]) == "mixed"
    assert kube.strategy_of([granted("cloud", "GPU-4")]) == "none"


def test_mdev_map() -> None:
    text = render.mdev_map(DEVICES, ENTRIES, site="sample", sharing="virtual-function")
    same("mdev_map.json", text)
    facts = json.loads(text)
    uuids = [one["uuid"] for device in facts["devices"] for one in device["slices"]]
    assert len(uuids) == len(set(uuids)) == 11
    assert facts["devices"][4]["owner"] == "worker01"
    assert facts["sharing"] == "virtual-function" and facts["why"]


def test_the_uuid_of_a_slice_depends_on_its_site_and_place_alone() -> None:
    one = Slice("GPU-0", 1, "1g.10gb")
    assert render.slice_uuid("a", one) == render.slice_uuid("a", replace(one))
    others = [render.slice_uuid("b", one), *(render.slice_uuid("a", replace(one, start=n)) for n in (0, 2))]
    assert len({render.slice_uuid("a", one), *others}) == 4
