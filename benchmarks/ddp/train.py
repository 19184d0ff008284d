"""Data-parallel training on made-up images: heavy enough that an epoch takes a second or more of two cores."""

from __future__ import annotations

import json
import os

import torch
from ai_how_job import notice
from ai_how_job.images import Images, learn, options
from torch import nn


def network() -> nn.Module:
    """A convolutional network for images of 28 x 28 points."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def circumstances() -> dict[str, object]:
    """What both sides of the comparison must have in common for it to mean anything."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "nice": os.nice(0),
        "processes": int(os.environ["WORLD_SIZE"]),
    }


if __name__ == "__main__":
    asked = options(__doc__, epochs=8, batch_size=64, learning_rate=0.01).parse_args()
    data = Images(torch.rand(4352, 1, 28, 28), torch.randint(0, 10, (4352,)))
    learn("synthetic", data, held_out=256, network=network, asked=asked)
    if os.environ["RANK"] == "0":
        result = notice.output_folder() / "result.json"
        result.write_text(json.dumps({**json.loads(result.read_text()), "circumstances": circumstances()}))
