"""Throughput of data-parallel training through ``ai-how train``, against the same script under bare torchrun.

    python benchmarks/ddp.py [--pairs 5] [--epochs 8] [--file cluster.yaml]

The site of the file must be up. Each pair runs the recipe in ``benchmarks/ddp`` once through Slurm on two nodes and
once as two processes of torchrun on this machine, with the same interpreter, arguments and number of threads; which
comes first alternates. What is compared is the script's own figure: images per second of an epoch, the median of the
run's epochs, without start-up. The answer is the median over the pairs of each way, and the ratio of the two. Ends
with exit code 1 when the ratio is below the target.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ai_how.jobs.control import SUPPORT

RECIPE = Path(__file__).parent / "ddp"
TARGET = 0.97
PROCESSES = 2


def through_slurm(words: Sequence[str], file: Path) -> dict[str, Any]:
    """What ``ai-how train`` prints when its job has ended."""
    settings = [word for pair in zip(words[::2], words[1::2], strict=True) for word in _setting(*pair)]
    command = [sys.executable, "-m", "ai_how", "train", str(RECIPE), "--json", "--file", str(file), *settings]
    facts: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return facts


def _setting(name: str, value: str) -> tuple[str, str]:
    return "--set", f"{name.removeprefix('--')}={value}"


def bare(words: Sequence[str], python: str) -> float:
    """Images per second of the same script under torchrun alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(RECIPE / "train.py", folder)
        shutil.copytree(SUPPORT, folder / SUPPORT.name)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "AI_HOW_"))}
        env = {
            **kept,
            "PYTHONPATH": name,
            "OMP_NUM_THREADS": "1",
            "AI_HOW_OUTPUT_DIR": str(folder / "output"),
        }
        command = [
            python, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={PROCESSES}",
            "--master-addr=127.0.0.1", f"--master-port={_free_port()}", "train.py", *words,
        ]  # fmt: skip
        subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
        return float(json.loads((folder / "output" / "result.json").read_text())["samples_per_second"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def interpreter(file: Path) -> str:
    """The python that the recipe's jobs run with, read from the batch script that would be submitted."""
    command = [sys.executable, "-m", "ai_how", "train", str(RECIPE), "--dry-run", "--file", str(file)]
    script = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (line,) = (line for line in script.splitlines() if line.startswith("srun "))
    return line.split(" -m ai_how_job.torchrun")[0].split()[-1]


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Interleaved pairs, after one of each that does not count."""
    words = ["--epochs", str(asked.epochs), "--batch-size", str(asked.batch_size)]
    python = interpreter(asked.file)
    bare(words, python)
    slurm, alone = [], []
    for pair in range(asked.pairs):
        order = ("slurm", "bare") if pair % 2 == 0 else ("bare", "slurm")
        for way in order:
            if way == "slurm":
                slurm.append(float(through_slurm(words, asked.file)["result"]["samples_per_second"]))
            else:
                alone.append(bare(words, python))
        print(
            f"pair {pair + 1}: slurm {slurm[-1]:.0f}/s, bare {alone[-1]:.0f}/s", file=sys.stderr, flush=True
        )
    ratio = statistics.median(slurm) / statistics.median(alone)
    return {
        "epochs": asked.epochs,
        "batch_size": asked.batch_size,
        "slurm": {"samples_per_second": slurm, "median": statistics.median(slurm)},
        "bare": {"samples_per_second": alone, "median": statistics.median(alone)},
        "ratio": round(ratio, 4),
        "target": TARGET,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64, help="images in a step of one process")
    parser.add_argument("--file", type=Path, default=Path("cluster.yaml"))
    facts = measure(parser.parse_args())
    print(json.dumps(facts, indent=2))
    return 0 if facts["ratio"] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
