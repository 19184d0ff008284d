"""Fit y = 3x + 1 with data-parallel PyTorch: tracked, told before the time limit, resumed after a requeue."""

import argparse
import time

import torch
from ai_how_job import ddp

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--steps", type=int, default=50, help="steps of each epoch")
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--pause", type=float, default=0.0, help="seconds to rest after each step")
asked = parser.parse_args()

with ddp.Training(checkpoint_every=30) as training:
    torch.manual_seed(training.rank)  # each process draws points of its own
    net = torch.nn.Linear(1, 1).to(training.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=asked.learning_rate)
    model = training.parallel(net, optimizer)
    for _ in training.epochs(asked.epochs):
        for _ in training.steps(asked.steps):
            x = torch.rand(64, 1, device=training.device)
            loss = torch.nn.functional.mse_loss(model(x), 3 * x + 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(asked.pause)
        training.log(loss=training.mean(loss.item()))
    training.finish(net, "A line.\n", slope=net.weight.item(), intercept=net.bias.item())
