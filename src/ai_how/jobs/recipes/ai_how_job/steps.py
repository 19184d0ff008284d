"""How long each step of a training takes, for whoever measures it.

`AI_HOW_MEASURE=STEPS:FILE` has the training end after so many steps, behind a few that are not counted, and the first
process write their times into the file. The training itself is what it always is: a step is measured as a whole, with
the samples that it picks, and nothing between two epochs.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

_WARMUP = 3


class Steps:
    """The steps that are measured; none where nobody measures."""

    def __init__(self, steps: int = 0, file: Path | None = None) -> None:
        self._left, self._file = (_WARMUP + steps if steps else 0), file
        self._times: list[float] = []
        self._began = 0.0
        self.enough = False

    @classmethod
    def of_this_job(cls) -> Steps:
        """As the environment says."""
        steps, _, file = os.environ.get("AI_HOW_MEASURE", "").partition(":")
        return cls(int(steps), Path(file)) if file else cls()

    def begin(self) -> None:
        """A step begins here."""
        self._began = time.perf_counter()

    def end(self, device: torch.device, model: torch.nn.Module, rank: int) -> None:
        """It ends here, with all that a GPU still has to do."""
        if not self._left:
            return
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self._times.append(time.perf_counter() - self._began)
        self._left -= 1
        if not self._left:
            self.enough = True
            self._write(device, model, rank)

    def _write(self, device: torch.device, model: torch.nn.Module, rank: int) -> None:
        """What was measured counts only where all processes have come to the same weights."""
        weights = torch.cat([one.detach().flatten() for one in model.parameters()])
        first = weights.clone()
        dist.broadcast(first, src=0)
        if not torch.equal(weights, first):
            raise SystemExit("the processes have come to different weights")
        if rank or self._file is None:
            return
        facts: dict[str, Any] = {
            "times": self._times[_WARMUP:],
            "parameters": weights.numel(),
            "version": torch.__version__,
            "device": device.type,
            "world_size": dist.get_world_size(),
        }
        self._file.write_text(json.dumps(facts))
