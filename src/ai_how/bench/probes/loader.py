"""Samples read from files by PyTorch's data loader: samples and bytes a second, and how long a batch keeps one waiting.

python loader.py ASKED.json ANSWER.json. Runs in the runtime environment `torch`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
from checkpoint import drop, share_in_memory
from torch.utils.data import DataLoader, Dataset


class Files(Dataset):
    """A file a sample, as the bytes that are in it."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.frombuffer(bytearray(self.paths[index].read_bytes()), dtype=torch.uint8)


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    torch.manual_seed(1)
    paths = [Path(asked["folder"]) / f"sample{index}" for index in range(asked["files"])]
    for path in paths:
        path.write_bytes(os.urandom(asked["bytes"]))
    os.sync()  # what is not on the disk yet cannot be dropped from the cache
    epochs, kept = [], 0.0
    for _ in range(asked["epochs"]):
        if asked["cold"]:
            for path in paths:
                drop(path)
            some = paths[:: max(1, len(paths) // 100)]
            kept = max(kept, sum(map(share_in_memory, some)) / len(some))
        loader = DataLoader(
            Files(paths), batch_size=asked["batch"], shuffle=True, num_workers=asked["workers"]
        )
        begun = last = time.monotonic()
        waits, samples = [], 0
        for batch in loader:
            now = time.monotonic()
            waits.append(now - last)
            samples, last = samples + len(batch), now
        epochs.append({"seconds": time.monotonic() - begun, "samples": samples, "waits": waits})
    Path(sys.argv[2]).write_text(json.dumps({"version": torch.__version__, "epochs": epochs, "kept": kept}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
