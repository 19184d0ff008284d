"""Throughput of data-parallel training through ``ai-how train``, against the same script under bare torchrun.

    .venv/bin/python benchmarks/ddp.py [--minutes 7] [--epochs 6] [--file cluster.yaml] [--root FOLDER]

The site of the file must be up, and is up for both sides. A round is four runs: slurm, bare, bare, slurm; the next one
begins with bare, so that what drifts evenly falls on both sides alike. Through Slurm the script runs on two emulated
nodes, bare as two processes of torchrun on this machine, with the same interpreter and arguments. It notes its threads,
CPUs, niceness and PyTorch; where the two sides differ in them, nothing is compared.

A run's figure is all its images but those of the first epoch over the seconds that their epochs took: nothing that
happens meanwhile is left out, seldom as it may be. A round's figure is the ratio of the two sides' geometric means, and
the answer is the median over the rounds, with a bootstrap interval of 95 %. Ends with exit code 0 when the answer is at
least the target and with 1 when it is not; ``verdict`` says whether the interval leaves that open.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_how.jobs.control import SUPPORT

RECIPE = Path(__file__).parent / "ddp"
TARGET = 0.97
PROCESSES = 2
DRAWS = 4000
SLURM, BARE = "slurm", "bare"


@dataclass(frozen=True)
class Ways:
    """How to run the script on either side."""

    site: Sequence[str]
    python: str

    def run(self, way: str, words: Sequence[str]) -> dict[str, Any]:
        return self.through_slurm(words) if way == SLURM else self.bare(words)

    def train(self, *more: str) -> str:
        command = [sys.executable, "-m", "ai_how", "train", str(RECIPE), *self.site, *more]
        return _output(command, None, None)

    def through_slurm(self, words: Sequence[str]) -> dict[str, Any]:
        """The script's result, as ``ai-how train`` prints it when its job has ended."""
        pairs = zip(words[::2], words[1::2], strict=True)
        settings = [word for name, value in pairs for word in ("--set", f"{name.removeprefix('--')}={value}")]
        result: dict[str, Any] = json.loads(self.train("--json", *settings))["result"]
        return result

    def bare(self, words: Sequence[str]) -> dict[str, Any]:
        """The result of the same script under torchrun alone, which tells nobody of it."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copy(RECIPE / "train.py", folder)
            shutil.copytree(SUPPORT, folder / SUPPORT.name)
            env = {
                **{
                    key: text
                    for key, text in os.environ.items()
                    if not key.startswith(("MLFLOW_", "AI_HOW_"))
                },
                "PYTHONPATH": name,
                "OMP_NUM_THREADS": "1",
                "AI_HOW_OUTPUT_DIR": str(folder / "output"),
            }
            command = [
                self.python, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={PROCESSES}",
                "--master-addr=127.0.0.1", f"--master-port={_free_port()}", "train.py", *words,
            ]  # fmt: skip
            _output(command, folder, env)
            result: dict[str, Any] = json.loads((folder / "output" / "result.json").read_text())
            return result


def _output(command: Sequence[str], folder: Path | None, env: Mapping[str, str] | None) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ways_of(asked: argparse.Namespace) -> Ways:
    """With the python that the recipe's jobs run with, read from the batch script that would be submitted."""
    site = ("--file", str(asked.file), *(("--root", str(asked.root)) if asked.root else ()))
    script = Ways(site, "").train("--dry-run")
    (line,) = (line for line in script.splitlines() if line.startswith("srun "))
    return Ways(site, line.split(" -m ai_how_job.torchrun")[0].split()[-1])


def throughput(result: Mapping[str, Any]) -> float:
    """Images a second after the first epoch. Epochs have the same number of images, so that their seconds add up."""
    return float(statistics.harmonic_mean([epoch["samples_per_second"] for epoch in result["history"][1:]]))


def like(results: Mapping[str, Mapping[str, Any]]) -> None:
    """End here when the two sides did not run alike."""
    slurm, bare = (results[way]["circumstances"] for way in (SLURM, BARE))
    differing = [f"{key}: slurm {slurm[key]}, bare {bare[key]}" for key in slurm if slurm[key] != bare[key]]
    if differing:
        sys.exit(
            f"the two sides cannot be compared: {'; '.join(differing)}\n"
            "Bring the site up from where this is started: its jobs inherit niceness and CPUs from there."
        )


def measure(asked: argparse.Namespace) -> list[dict[str, list[float]]]:
    """Rounds, as many as the minutes allow, after a short run of each side that does not count."""
    begin = time.monotonic()
    ways = ways_of(asked)
    like({way: ways.run(way, ["--epochs", "2"]) for way in (BARE, SLURM)})
    words = ["--epochs", str(asked.epochs), "--batch-size", str(asked.batch_size)]
    rounds: list[dict[str, list[float]]] = []
    longest = 0.0
    while len(rounds) < 3 or time.monotonic() - begin + longest < asked.minutes * 60:
        began = time.monotonic()
        first, second = (SLURM, BARE) if len(rounds) % 2 == 0 else (BARE, SLURM)
        speeds: dict[str, list[float]] = {SLURM: [], BARE: []}
        for way in (first, second, second, first):
            speeds[way].append(throughput(ways.run(way, words)))
        rounds.append(speeds)
        longest = max(longest, time.monotonic() - began)
        told = ", ".join(f"{way} {' '.join(f'{speed:.0f}' for speed in speeds[way])}" for way in speeds)
        print(f"round {len(rounds)}: {told} images/s, {ratio(speeds):.3f}", file=sys.stderr, flush=True)
    return rounds


def ratio(speeds: Mapping[str, Sequence[float]]) -> float:
    """Of one round."""
    return statistics.geometric_mean(speeds[SLURM]) / statistics.geometric_mean(speeds[BARE])


def facts_of(rounds: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """What the rounds say. ``bare_spread`` is by how much two runs of one side differ, a standard deviation."""
    ratios = [ratio(speeds) for speeds in rounds]
    chance = random.Random(0)
    drawn = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    low, high = drawn[DRAWS // 40], drawn[-DRAWS // 40]
    alone = [math.log(speeds[BARE][0] / speeds[BARE][1]) for speeds in rounds]
    medians = {way: statistics.median(s for one in rounds for s in one[way]) for way in (SLURM, BARE)}
    return {
        "rounds": list(rounds),
        "images_per_second": {way: round(speed) for way, speed in medians.items()},
        "ratios": [round(one, 4) for one in ratios],
        "ratio": round(statistics.median(ratios), 4),
        "interval": [round(low, 4), round(high, 4)],
        "bare_spread": round(math.sqrt(statistics.fmean(one**2 for one in alone) / 2), 4),
        "target": TARGET,
        "verdict": "met" if low >= TARGET else "missed" if high < TARGET else "open",
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=7.0, help="begin no round that would end later")
    parser.add_argument("--epochs", type=int, default=6, help="of a run; the first does not count")
    parser.add_argument("--batch-size", type=int, default=64, help="images in a step of one process")
    parser.add_argument("--file", type=Path, default=Path("cluster.yaml"))
    parser.add_argument("--root", type=Path, help="the site's folder, where it is not the usual one")
    facts = facts_of(measure(parser.parse_args()))
    print(json.dumps(facts, indent=2))
    return 0 if facts["ratio"] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
