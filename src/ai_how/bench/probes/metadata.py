"""What a file system does besides moving data: every process makes, looks at, opens, renames, lists and removes files.

python metadata.py ASKED.json ANSWER.json. Needs Python alone. Processes begin each operation together, and an
operation's rate is all its files over the time from its first beginning to its last end.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OPERATIONS = ("create", "stat", "open", "rename", "list", "remove")


def acts(folder: Path, prefix: str, data: bytes) -> dict[str, Callable[[int], None]]:
    """What each operation does to file ``i``."""

    def create(index: int) -> None:
        handle = os.open(folder / f"{prefix}{index}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        if data:
            os.write(handle, data)
        os.close(handle)

    def open_(index: int) -> None:
        handle = os.open(folder / f"{prefix}{index}", os.O_RDONLY)
        os.read(handle, len(data))
        os.close(handle)

    return {
        "create": create,
        "stat": lambda index: void(os.stat(folder / f"{prefix}{index}")),
        "open": open_,
        "rename": lambda index: os.rename(folder / f"{prefix}{index}", folder / f"{prefix}r{index}"),
        "list": lambda index: void(os.listdir(folder)),
        "remove": lambda index: os.unlink(folder / f"{prefix}r{index}"),
    }


def void(_: Any) -> None:
    return


def work(asked: dict[str, Any], number: int, barrier: Any, told: Any) -> None:
    """All operations of one process; one that fails ends those of the others, who wait for it."""
    try:
        for found in operations(asked, number, barrier):
            told.put(found)
    except threading.BrokenBarrierError:
        raise SystemExit("another process has failed") from None
    except BaseException:
        barrier.abort()
        raise


def operations(
    asked: dict[str, Any], number: int, barrier: Any
) -> Iterator[tuple[str, float, float, list[float]]]:
    shared = asked["shared"]
    folder = Path(asked["folder"]) / ("all" if shared else f"own{number}")
    folder.mkdir(parents=True, exist_ok=True)
    todo = acts(folder, f"p{number}-", os.urandom(asked["bytes"]))
    for name in OPERATIONS:
        # One look at the whole folder is an operation; a thousand of them would be all that is measured.
        count = min(10, asked["files"]) if name == "list" else asked["files"]
        times = []
        barrier.wait()
        begun = time.monotonic()
        for index in range(count):
            before = time.monotonic()
            todo[name](index)
            times.append(time.monotonic() - before)
        yield name, begun, time.monotonic(), times


def gathered(asked: dict[str, Any]) -> Iterator[tuple[str, float, float, list[float]]]:
    context = multiprocessing.get_context("fork")
    barrier, told = context.Barrier(asked["processes"]), context.Queue()
    all_ = [
        context.Process(target=work, args=(asked, number, barrier, told))
        for number in range(asked["processes"])
    ]
    for one in all_:
        one.start()
    left = len(OPERATIONS) * len(all_)
    while left:
        try:
            yield told.get(timeout=0.2)
            left -= 1
        except queue.Empty:
            failed = [one.exitcode for one in all_ if one.exitcode]
            if failed:
                barrier.abort()  # one that was killed could not do so itself
                raise SystemExit(f"a process ended with {failed[0]}") from None
    for one in all_:
        one.join()


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    parts: dict[str, list[tuple[float, float, list[float]]]] = {name: [] for name in OPERATIONS}
    for name, begun, ended, times in gathered(asked):
        parts[name].append((begun, ended, times))
    answer = {
        name: {
            "seconds": max(end for _, end, _ in own) - min(begun for begun, _, _ in own),
            "times": [time for _, _, times in own for time in times],
        }
        for name, own in parts.items()
    }
    Path(sys.argv[2]).write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
