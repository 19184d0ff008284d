"""Steps of a data-parallel training as the recipes do them: DistributedDataParallel around a network, made-up data.

python training.py ASKED.json ANSWER.json. Runs in the runtime environment `torch`.
"""

from __future__ import annotations

import time
from typing import Any

import ranks
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_WARMUP = 3


def work(asked: dict[str, Any], rank: int, count: int, device: torch.device) -> dict[str, Any]:
    torch.manual_seed(1)
    width = asked["width"]
    layers = [part for _ in range(asked["layers"]) for part in (nn.Linear(width, width), nn.ReLU())]
    model = DistributedDataParallel(nn.Sequential(*layers, nn.Linear(width, 10)).to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs = torch.rand(asked["batch"], width, device=device)
    labels = torch.randint(0, 10, (asked["batch"],), device=device)
    times, losses = [], []
    for number in range(_WARMUP + asked["steps"]):
        begun = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        ranks.settled(device)
        if number >= _WARMUP:
            times.append(time.perf_counter() - begun)
        losses.append(loss.detach())
    weights = torch.cat([one.detach().flatten() for one in model.parameters()])
    same = weights.clone()
    dist.broadcast(same, src=0)
    if not torch.equal(weights, same):
        raise SystemExit("the processes have come to different weights")
    return {
        "times": times,
        "parameters": weights.numel(),
        "first": float(losses[0]),
        "last": float(losses[-1]),
    }


if __name__ == "__main__":
    raise SystemExit(ranks.main(work))
