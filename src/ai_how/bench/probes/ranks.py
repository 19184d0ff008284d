"""Processes of a collective: started here, or by srun, which tells each its rank. They meet at a file that all see."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

#: Seconds after which a process that waits for the others gives up.
_PATIENCE = timedelta(seconds=600)
Work = Callable[[dict[str, Any], int, int, torch.device], Any]
"""What each process does: of what was asked, its rank, their number, its device. Rank 0's answer is the answer."""


def backend_of(asked: dict[str, Any]) -> str:
    """NCCL where every process of this machine has a GPU of its own."""
    if asked["backend"] != "auto":
        return asked["backend"]
    local = int(os.environ.get("SLURM_NTASKS_PER_NODE", 1)) if asked["by_srun"] else asked["processes"]
    return "nccl" if torch.cuda.is_available() and torch.cuda.device_count() >= local else "gloo"


def local_rank(rank: int, asked: dict[str, Any]) -> int:
    """Which process of its machine this is. A batch script's own variables say nothing of those that it starts."""
    return int(os.environ.get("SLURM_LOCALID", rank)) if asked["by_srun"] else rank


def one(rank: int, asked: dict[str, Any], answer: str, work: Work) -> None:
    backend, count = backend_of(asked), asked["processes"]
    device = torch.device("cpu")
    if backend == "nccl":
        device = torch.device("cuda", local_rank(rank, asked))
        torch.cuda.set_device(device)
    torch.set_num_threads(1)
    dist.init_process_group(
        backend, init_method=f"file://{asked['folder']}/meet", rank=rank, world_size=count, timeout=_PATIENCE
    )
    found = work(asked, rank, count, device)
    if rank == 0:
        facts = {"backend": backend, "version": torch.__version__, "device": device.type, "found": found}
        part = Path(f"{answer}.part")
        part.write_text(json.dumps(facts))
        part.rename(answer)
    dist.barrier()
    dist.destroy_process_group()


def main(work: Work) -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    if asked["by_srun"]:
        one(int(os.environ["SLURM_PROCID"]), asked, sys.argv[2], work)
    else:
        os.environ.setdefault(
            "GLOO_SOCKET_IFNAME", "lo"
        )  # all are here: the host's name need not lead anywhere
        multiprocessing.start_processes(
            one, (asked, sys.argv[2], work), asked["processes"], start_method="fork"
        )
    return 0


def settled(device: torch.device) -> None:
    """Wait for what a GPU still has to do: until then nothing is measured."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
