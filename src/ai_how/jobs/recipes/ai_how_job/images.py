"""The training loop of the recipes that learn to tell images apart."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from .ddp import Training


class Images(NamedTuple):
    """Labelled images: `points` of shape (count, 1, height, width) between 0 and 1, `labels` from 0."""

    points: torch.Tensor
    labels: torch.Tensor

    def at(self, rows: torch.Tensor) -> Images:
        """The images of these rows."""
        return Images(self.points[rows], self.labels[rows])

    def on(self, device: torch.device) -> Images:
        """The same images in the memory of a device."""
        return Images(self.points.to(device), self.labels.to(device))


def options(
    description: str | None, *, epochs: int, batch_size: int, learning_rate: float
) -> argparse.ArgumentParser:
    """The arguments that these recipes share, with a recipe's defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch-size", type=int, default=batch_size, help="images in a step of one process")
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-every", type=float, default=60, help="seconds between two checkpoints")
    parser.add_argument(
        "--epoch-seconds", type=float, default=0, help="slow every epoch down by so many seconds"
    )
    return parser


def learn(
    name: str, data: Images, held_out: int, network: Callable[[], nn.Module], asked: argparse.Namespace
) -> None:
    """Train a network on all images but `held_out` of them, which measure it after every epoch."""
    with Training(asked.checkpoint_every) as training:
        torch.manual_seed(asked.seed)
        order = torch.randperm(len(data.labels))
        test, data = (data.at(rows).on(training.device) for rows in (order[:held_out], order[held_out:]))
        net = network().to(training.device)
        optimizer = torch.optim.SGD(net.parameters(), lr=asked.learning_rate, momentum=0.9)
        model = training.parallel(net, optimizer)
        training.run.params({**vars(asked), "world_size": training.world_size, "nodes": training.nodes})
        for epoch in training.epochs(asked.epochs):
            began = time.perf_counter()
            loss, seen = _epoch(training, model, optimizer, data, asked, epoch)
            speed = seen / (time.perf_counter() - began)
            training.log(loss=training.mean(loss), accuracy=_accuracy(net, test), samples_per_second=speed)
        facts = _facts(training.history)
        training.finish(net, _card(name, facts), held_out=held_out, **facts)


def _epoch(
    training: Training, model: nn.Module, optimizer: Any, data: Images, asked: argparse.Namespace, epoch: int
) -> tuple[float, int]:
    """Mean loss of the steps taken and the number of images seen. The order depends on seed and epoch alone."""
    batch = asked.batch_size * training.world_size
    steps = len(data.labels) // batch
    shuffle = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(asked.seed + epoch))
    losses = []
    for step in training.steps(steps):
        mine = data.at(shuffle[step * batch :][training.rank : batch : training.world_size])
        loss = nn.functional.cross_entropy(model(mine.points), mine.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        time.sleep(asked.epoch_seconds / steps)
    return torch.stack(losses).mean().item(), len(losses) * batch


@torch.no_grad()
def _accuracy(net: nn.Module, test: Images) -> float:
    said = torch.cat([net(points).argmax(1) for points in test.points.split(1000)])
    return (said == test.labels).float().mean().item()


def _facts(history: list[dict[str, float]]) -> dict[str, float]:
    speeds = sorted(entry["samples_per_second"] for entry in history)
    return {
        "accuracy": history[-1]["accuracy"],
        "loss_first": history[0]["loss"],
        "loss_last": history[-1]["loss"],
        "samples_per_second": speeds[len(speeds) // 2],
    }


def _card(name: str, facts: dict[str, float]) -> str:
    lines = "".join(f"- {key}: {value:.4g}\n" for key, value in facts.items())
    return f"# {name}\n\nTrained by AI-HOW. `weights.pt` is the network's state for PyTorch.\n\n{lines}"
