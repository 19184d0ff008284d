"""Data-parallel training under torchrun that can be told to leave at any step and goes on from there.

    with ddp.Training() as training:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        model = training.parallel(net, optimizer)
        for epoch in training.epochs(10):
            for step in training.steps(100):
                ...
            training.log(loss=loss)

A checkpoint holds the model, the optimizer, the epoch and step, the random states and what was logged.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any, Self

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from . import notice
from .steps import Steps
from .tracking import Run

_GO_ON, _SAVE, _LEAVE = 0, 1, 2


class Training:
    """This process's part in a training that several processes share.

    Args:
        checkpoint_every: seconds between two checkpoints.
    """

    def __init__(self, checkpoint_every: float = 60.0) -> None:
        notice.listen()
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        self.device = _device()
        self.history: list[dict[str, float]] = []
        self.run = Run.of_this_job() if self.rank == 0 else Run(None, None)
        self._every = checkpoint_every
        self._saved_at = time.monotonic()
        self._epoch = self._step = 0
        self._kept: dict[str, Any] = {}
        self._measured = Steps.of_this_job()

    def __enter__(self) -> Self:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "0" if self.world_size == 1 else "29500")
        backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
        dist.init_process_group(backend, rank=self.rank, world_size=self.world_size)
        return self

    def __exit__(self, *error: object) -> None:
        self.run.close()
        dist.destroy_process_group()

    def parallel(self, model: torch.nn.Module, optimizer: Any) -> DistributedDataParallel:
        """The model with its gradients averaged over all processes, resumed when there is a checkpoint.

        The model must be on `device` and the optimizer made from its parameters.
        """
        self._kept = {"model": model, "optimizer": optimizer}
        folder = notice.checkpoint_folder()
        if folder and (folder / "checkpoint.pt").exists():
            self._load(torch.load(folder / "checkpoint.pt", map_location=self.device, weights_only=True))
        return DistributedDataParallel(model)

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs that are left of `count`."""
        while self._epoch < count and not self._measured.enough:
            yield self._epoch
            self._epoch, self._step = self._epoch + 1, 0
            if self._epoch < count and not self._measured.enough:
                self._obey(self._agree())

    def steps(self, count: int) -> Iterator[int]:
        """The steps that are left of this epoch's `count`. Every process must take the same number of steps."""
        while self._step < count and not self._measured.enough:
            self._measured.begin()
            yield self._step
            self._step += 1
            if self._step < count:
                self._obey(self._agree())
            self._measured.end(self.device, self._kept["model"], self.rank)

    def log(self, **metrics: float) -> None:
        """Record the values of this epoch."""
        self.history.append({"epoch": self._epoch, **metrics})
        self.run.metrics(metrics, step=self._epoch)
        if self.rank == 0:
            print(
                f"epoch {self._epoch}", *(f"{key} {value:.4g}" for key, value in metrics.items()), flush=True
            )

    def finish(self, net: torch.nn.Module, card: str, **facts: object) -> None:
        """Write the results once, from the first process: the model with its card, and the facts as result.json."""
        if self.rank:
            return
        output = notice.output_folder()
        (output / "model").mkdir(exist_ok=True)
        torch.save(net.state_dict(), output / "model" / "weights.pt")
        (output / "model" / "README.md").write_text(card)
        place = {"world_size": self.world_size, "nodes": self.nodes, "device": self.device.type}
        result = output / "result.json"
        result.write_text(json.dumps({**facts, **place, "history": self.history}, indent=2) + "\n")
        self.run.artifact(result)
        self.run.artifact(output / "model" / "README.md")

    def mean(self, value: float) -> float:
        """The mean of a value over all processes."""
        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total.item()) / self.world_size

    def _agree(self) -> int:
        """What all processes do after this step: the most urgent wish of any of them."""
        due = self.rank == 0 and time.monotonic() - self._saved_at >= self._every
        wish = torch.tensor([_LEAVE if notice.given() else _SAVE if due else _GO_ON])
        dist.all_reduce(wish, dist.ReduceOp.MAX)
        return int(wish.item())

    def _obey(self, wish: int) -> None:
        if wish >= _SAVE:
            self._save()
        if wish == _LEAVE:
            if self.rank == 0:
                print(f"told to leave: saved at epoch {self._epoch}, step {self._step}", flush=True)
            notice.leave()

    def _save(self) -> None:
        states: list[Any] = [None] * self.world_size
        dist.all_gather_object(states, _random_states())
        folder = notice.checkpoint_folder()
        if folder and self.rank == 0:
            parts = {name: part.state_dict() for name, part in self._kept.items()}
            place = {"epoch": self._epoch, "step": self._step, "history": self.history, "random": states}
            torch.save({**parts, **place}, folder / "checkpoint.part")
            os.replace(folder / "checkpoint.part", folder / "checkpoint.pt")
        self.run.hurry()  # what lies before a checkpoint is not done again, and so not recorded again
        self._saved_at = time.monotonic()
        dist.barrier()

    def _load(self, saved: dict[str, Any]) -> None:
        for name, part in self._kept.items():
            part.load_state_dict(saved[name])
        self._epoch, self._step, self.history = saved["epoch"], saved["step"], saved["history"]
        random = [state.cpu() for state in saved["random"][self.rank % len(saved["random"])]]
        torch.set_rng_state(random[0])
        if len(random) > 1 and self.device.type == "cuda":
            torch.cuda.set_rng_state(random[1])
        if self.rank == 0:
            print(f"resumed at epoch {self._epoch}, step {self._step}", flush=True)


def _random_states() -> list[torch.Tensor]:
    """The processor's and, where there is one, the current GPU's."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cuda", torch.cuda.current_device())
