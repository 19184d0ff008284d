"""Who is asked about NVIDIA's GPUs, what nvidia-smi's tables say, and the four answers.

The tables are in the form that NVIDIA's MIG user guide prints; none was recorded here.
"""

from __future__ import annotations

import pytest

from ai_how.errors import MissingProgram
from ai_how.host import nvidia_smi
from ai_how.host.gpus import MIB, GpuFound, InstanceFound, MigMode, ProcessFound, ProfileFound
from ai_how.host.machine import Machine, PciDevice
from ai_how.host.nvidia import Told, answer, ask
from ai_how.host.nvml import DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, NO_PERMISSION, NvmlError
from ai_how.host.simulated import SimulatedNvml
from ai_how.run import Command
from ai_how.run.fake import Answer, ScriptedGate

DEVICES = """\
0, NVIDIA A100-SXM4-80GB, GPU-aaaa, 00000000:65:00.0, 81920, 550.54.15, 8.0, Enabled, Enabled
1, NVIDIA RTX 6000 Ada Generation, GPU-bbbb, 00000000:CA:00.0, 49140, 550.54.15, 8.9, [N/A], [N/A]
"""
PROFILES = """\
+-----------------------------------------------------------------------------+
| GPU instance profiles:                                                      |
| GPU   Name             ID    Instances   Memory     P2P    SM    DEC   ENC  |
|                              Free/Total   GiB              CE    JPEG  OFA  |
|=============================================================================|
|   0  MIG 1g.10gb       19     7/7        9.50       No     14     0     0   |
|                                                             1     0     0   |
+-----------------------------------------------------------------------------+
|   0  MIG 1g.10gb+me    20     1/1        9.50       No     14     1     0   |
|                                                             1     1     1   |
+-----------------------------------------------------------------------------+
|   0  MIG 7g.80gb        0     0/1        79.25      No     98     5     0   |
|                                                             8     1     1   |
+-----------------------------------------------------------------------------+
"""
PLACEMENTS = """\
GPU  0 Profile ID 19 Placements: {0,1,2,3,4,5,6}:1
GPU  0 Profile ID 20 Placements: {0,1,2,3,4,5,6}:1
GPU  0 Profile ID  0 Placement : {0}:8
GPU  1 Profile ID 19 Placements: {0,1,2,3}:1
"""
INSTANCES = """\
+-------------------------------------------------------+
| GPU instances:                                        |
| GPU   Name             Profile  Instance   Placement  |
|                          ID       ID       Start:Size |
|=======================================================|
|   0  MIG 1g.10gb         19       13          6:1     |
+-------------------------------------------------------+
|   0  MIG 1g.10gb         19        9          2:1     |
+-------------------------------------------------------+
"""
PROCESSES = "GPU-aaaa, 4242, python3, 1024\nGPU-bbbb, 77, [Not Found], [N/A]\n"
SMALL = ProfileFound(
    id=19, name="1g.10gb", compute=1, memory=9728 * MIB, maximum=7, size=1, starts=(0, 1, 2, 3, 4, 5, 6),
    multiprocessors=14,
)  # fmt: skip


def test_the_profiles_of_a_device() -> None:
    small, media, whole = nvidia_smi.parse_profiles(PROFILES, PLACEMENTS, 0)
    assert small == SMALL
    assert media.media and media.maximum == 1
    assert (whole.name, whole.compute, whole.size, whole.starts) == ("7g.80gb", 7, 8, (0,))
    assert nvidia_smi.parse_profiles(PROFILES, PLACEMENTS, 1) == ()


def test_the_instances_of_a_device() -> None:
    assert nvidia_smi.parse_instances(INSTANCES, 0, (SMALL,)) == (
        InstanceFound(id=9, profile_id=19, profile="1g.10gb", start=2, size=1),
        InstanceFound(id=13, profile_id=19, profile="1g.10gb", start=6, size=1),
    )
    assert nvidia_smi.parse_instances(INSTANCES, 1, ()) == ()


class Silent(SimulatedNvml):
    """A driver that does not answer."""

    def __init__(self, code: int) -> None:
        super().__init__(())
        self.code = code

    def open(self) -> None:
        raise NvmlError("begin", self.code, "some words")


def smi(**refused: Answer) -> ScriptedGate:
    def table(question: str, text: str) -> Answer:
        return refused.get(question, (0, text, ""))

    return ScriptedGate(
        [
            (nvidia_smi.DEVICES, table("devices", DEVICES)),
            (nvidia_smi.PROFILES, table("profiles", PROFILES)),
            (nvidia_smi.PLACEMENTS, table("placements", PLACEMENTS)),
            (nvidia_smi.INSTANCES, table("instances", INSTANCES)),
            (nvidia_smi.PROCESSES, table("processes", PROCESSES)),
        ]
    )


def no_program(command: Command) -> Answer:
    raise MissingProgram("the program nvidia-smi is not there")


NOBODY = ScriptedGate([(("nvidia-smi",), no_program)])


def test_nvml_is_asked_first_and_alone() -> None:
    gpu = GpuFound(model="NVIDIA H100 PCIe", uuid="GPU-0")
    assert ask(SimulatedNvml((gpu,), driver="560.1"), ScriptedGate()) == Told((gpu,), "560.1")


def test_nvidia_smi_answers_where_the_library_is_missing() -> None:
    told = ask(Silent(LIBRARY_NOT_FOUND), smi())
    assert told.driver == "550.54.15" and told.gpus is not None
    first, second = told.gpus
    assert first.pci_address == "0000:65:00.0" and first.memory == 81920 * MIB
    assert first.mig == MigMode(current=True, pending=True)
    assert [each.start for each in first.instances or ()] == [2, 6]
    assert first.processes == (ProcessFound(pid=4242, name="python3", memory=1024 * MIB),)
    assert second.mig is None and second.profiles == () and second.compute_capability == "8.9"
    assert second.processes == (ProcessFound(pid=77, name="[Not Found]"),)


def test_what_nvidia_smi_refuses_is_said() -> None:
    told = ask(Silent(LIBRARY_NOT_FOUND), smi(instances=(4, "", "Insufficient Permissions")))
    assert told.gpus is not None and told.gpus[0].instances is None
    assert told.gpus[0].could_not_tell == {"instances": "nvidia-smi: nvidia-smi ended with exit status 4"}


@pytest.mark.parametrize(
    ("code", "absent"), [(LIBRARY_NOT_FOUND, True), (DRIVER_NOT_LOADED, True), (NO_PERMISSION, False)]
)
def test_nobody_to_ask_is_told_from_nobody_who_answers(code: int, absent: bool) -> None:
    told = ask(Silent(code), NOBODY)
    assert told.gpus is None and told.absent is absent
    assert told.reason == f"NVML says: some words (NVML {code})"


def test_a_program_that_fails_is_somebody_to_ask() -> None:
    failing = ScriptedGate([(("nvidia-smi",), (9, "", "couldn't communicate with the NVIDIA driver"))])
    assert not ask(Silent(LIBRARY_NOT_FOUND), failing).absent


CARD = PciDevice(address="0000:65:00.0", vendor="10de", kind="0302", driver="nouveau")
UNASKED = {"gpus": "NVML says: no"}


@pytest.mark.parametrize(
    ("facts", "outcome", "why"),
    [
        ({"pci_devices": (), "gpus": ()}, "none", "no NVIDIA device: PCI shows none"),
        ({"pci_devices": (), "could_not_tell": UNASKED}, "none", "no NVIDIA device: PCI shows none"),
        ({"gpus": ()}, "none", "no NVIDIA device: the driver has none"),
        (
            {"pci_devices": (CARD,), "could_not_tell": UNASKED},
            "no driver",
            "PCI shows an NVIDIA GPU at 0000:65:00.0 (held by nouveau), but NVML says: no",
        ),
        ({"could_not_tell": UNASKED}, "could not tell", "PCI could not be read, and NVML says: no"),
        (
            {"gpus": (GpuFound(model="A"), GpuFound(model="B"), GpuFound(model="A")), "driver": "550"},
            "found",
            "2 x A, 1 x B (driver 550)",
        ),
    ],
)
def test_there_are_four_answers(facts: dict[str, object], outcome: str, why: str) -> None:
    found = answer(Machine(inventory="1.0", **facts))
    assert (found.outcome, found.why) == (outcome, why)
