"""Devices of five kinds and what was granted on them, for the tests of what is drawn and rendered."""

from __future__ import annotations

import os
from pathlib import Path

from ai_how.gpu.catalogue import kind_of
from ai_how.gpu.demand import Entry
from ai_how.gpu.model import Device, Grant, Held, Kind, Placement, Slice

GOLDEN = Path(__file__).parents[1] / "golden" / "gpu"


def kind(model: str) -> Kind:
    found = kind_of(model)
    assert found is not None
    return found


def granted(
    consumer: str, device: str, start: int | None = None, profile: str = "", *, node: str | None = None,
    index: int = 0, kept: bool = False,
) -> Entry:  # fmt: skip
    """One entry of a ledger; without a start, the whole device."""
    place = None if start is None else Slice(device, start, profile)
    return Entry(node, Grant(f"for-{consumer}", index, consumer, device, place, kept))


DEVICES = (
    Device("GPU-0", kind("NVIDIA A100 80GB"), "0000:65:00.0", product="NVIDIA A100 80GB"),
    Device(
        "GPU-1",
        kind("NVIDIA A100-SXM4-80GB"),
        "0000:ca:00.0",
        held=(
            Held(Slice("GPU-1", 4, "3g.40gb"), "hpc", True),
            Held(Slice("GPU-1", 0, "1g.10gb")),
            Held(Slice("GPU-1", 3, "1g.10gb")),
        ),
    ),
    Device("GPU-2", kind("rtx-pro-6000"), "0001:01:00.0"),
    Device("GPU-3", kind("a30"), "0001:02:00.0"),
    Device("GPU-4", kind("NVIDIA RTX 6000"), "0001:03:00.0", mig=False, product="NVIDIA RTX 6000"),
    Device("GPU-5", kind("h100"), "0001:04:00.0"),
)
ENTRIES = (
    *(granted("hpc", "GPU-0", 6 - n, "1g.10gb", node=f"node{n + 1:02d}", index=n) for n in range(3)),
    granted("hpc", "GPU-0", 3, "1g.10gb+me", node="node04", index=3),
    *(granted("cloud", "GPU-0", 2 - n, "1g.10gb", node=f"worker{n + 1:02d}", index=n) for n in range(3)),
    granted("hpc.compute_nodes", "GPU-1", 4, "3g.40gb", node="node01", kept=True),
    granted("serving", "GPU-1", 0, "2g.20gb"),
    granted("cloud", "GPU-2", 0, "2g.48gb", node="worker02", index=3),
    granted("cloud", "GPU-2", 9, "1g.24gb", node="a-node-with-a-very-long-name-indeed"),
    granted("cloud", "GPU-4", node="worker01", index=4),
    granted("hpc.compute_nodes.big", "GPU-5", node="big01"),
)
PLACEMENT = Placement(
    tuple(entry.grant for entry in ENTRIES),
    remains={"GPU-0": None, "GPU-1": None, "GPU-2": "1g.24gb", "GPU-3": "4g.24gb", "GPU-5": None},
    left=(Slice("GPU-1", 3, "1g.10gb"),),
)


def same(name: str, text: str) -> None:
    """Compare with a golden file; ``AI_HOW_WRITE_GOLDEN=1`` writes it anew, to be looked at."""
    file = GOLDEN / name
    if os.environ.get("AI_HOW_WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
