"""Save a state by PyTorch, sync it to the disk, drop it from the page cache, load it again.

python checkpoint.py ASKED.json ANSWER.json. Runs in the runtime environment `torch`. The random numbers are made
beforehand: their generator is no part of a write. What was loaded is compared with what was saved.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
import time
from pathlib import Path

import torch

_LIBC = ctypes.CDLL(None, use_errno=True)


def drop(path: Path) -> None:
    """Have the kernel forget the file's pages, as if another node had written it."""
    handle = os.open(path, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def share_in_memory(path: Path) -> float:
    """The share of a file that is in memory: a kernel may keep what it was told to forget."""
    size = path.stat().st_size
    if not size:
        return 0.0
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as view:
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(view)
        failed = _LIBC.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size), pages)
        del first
    return 0.0 if failed else sum(one & 1 for one in pages) / len(pages)


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    path = Path(asked["folder"]) / "checkpoint.pt"
    numbers = max(1, asked["bytes"] // 4 // asked["tensors"])
    generator = torch.Generator().manual_seed(1)
    state = {f"layer{at}": torch.rand(numbers, generator=generator) for at in range(asked["tensors"])}
    saves, syncs, loads, kept = [], [], [], 0.0
    for _ in range(asked["rounds"]):
        path.unlink(missing_ok=True)  # to let go of the one before is no part of a save
        begun = time.monotonic()
        with path.open("wb") as file:
            torch.save(state, file)
            file.flush()
            written = time.monotonic()
            os.fsync(file.fileno())
        synced = time.monotonic()
        if asked["cold"]:
            drop(path)
            kept = max(kept, share_in_memory(path))
        before = time.monotonic()
        found = torch.load(path, weights_only=True)
        loads.append(time.monotonic() - before)
        saves.append(synced - begun)
        syncs.append(synced - written)
        if not all(torch.equal(found[name], tensor) for name, tensor in state.items()):
            raise SystemExit("what was loaded is not what was saved")
    answer = {
        "version": torch.__version__,
        "bytes": path.stat().st_size,
        "save": saves,
        "sync": syncs,
        "load": loads,
        "kept": kept,
    }
    path.unlink()
    Path(sys.argv[2]).write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
