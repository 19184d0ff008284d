"""All-reduce by size: how long each takes, after a few that are not counted.

python collective.py ASKED.json ANSWER.json. Runs in the runtime environment `torch`.
"""

from __future__ import annotations

import time
from typing import Any

import ranks
import torch
import torch.distributed as dist

_WARMUP = 3


def work(asked: dict[str, Any], rank: int, count: int, device: torch.device) -> list[dict[str, Any]]:
    found = []
    for size in asked["bytes"]:
        tensor = torch.ones(max(1, size // 4), device=device)
        times = []
        for number in range(_WARMUP + asked["rounds"]):
            tensor.fill_(1.0)
            dist.barrier()
            ranks.settled(device)
            begun = time.perf_counter()
            dist.all_reduce(tensor)
            ranks.settled(device)
            if number >= _WARMUP:
                times.append(time.perf_counter() - begun)
        if float(tensor[0]) != count or float(tensor[-1]) != count:
            raise SystemExit(f"the sum of {count} ones is {float(tensor[0])}")
        found.append({"bytes": tensor.numel() * 4, "times": times})
    return found


if __name__ == "__main__":
    raise SystemExit(ranks.main(work))
