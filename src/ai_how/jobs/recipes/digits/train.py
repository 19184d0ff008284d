"""Learn scikit-learn's handwritten digits (1,797 images of 8 x 8 points) with every process of the job."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import torch
from ai_how_job.images import Images, learn, options
from torch import nn


def load_digits() -> Images:
    """The images, read from scikit-learn's folder without the seconds its import takes."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise SystemExit("digits: scikit-learn, which carries the images, is not in this runtime environment")
    with gzip.open(Path(spec.origin).parent / "datasets/data/digits.csv.gz", "rt") as lines:
        rows = torch.tensor([[float(value) for value in line.split(",")] for line in lines])
    return Images(rows[:, :64].reshape(-1, 1, 8, 8) / 16, rows[:, 64].long())


def network() -> nn.Module:
    """A small convolutional network for 8 x 8 points."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip


if __name__ == "__main__":
    asked = options(__doc__, epochs=20, batch_size=32, learning_rate=0.1).parse_args()
    learn("digits", load_digits(), held_out=360, network=network, asked=asked)
