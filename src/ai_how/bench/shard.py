"""One process of a load that several generate: told by lines of JSON on its input, answering on its output.

It is started here, or by srun on other nodes, whose own connections carry the lines: nothing listens for it. It answers
``clock`` at once, so that whoever started it can measure how far its clock is from theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import uvloop

from ai_how.bench import schedule
from ai_how.bench.calibrate import calibrate, reference_server
from ai_how.bench.drive import Drive
from ai_how.bench.interfaces import Loaded, Place
from ai_how.bench.parcel import packed
from ai_how.bench.priority import first_in_line
from ai_how.bench.targets import target_of
from ai_how.bench.work import Address, Progress, Taken, Work, first_of
from ai_how.errors import AiHowError
from ai_how.run import LocalGate
from ai_how.spec.bench import BenchRecipe, override
from ai_how.spec.bench_load import Setting


def part_of(recipe: BenchRecipe, index: int, count: int) -> BenchRecipe:
    """The share of one process out of ``count``: of the rates, the clients and the connections. Pure."""
    load = recipe.load
    changed: dict[str, Setting] = {
        "load.clients": load.clients // count + (index < load.clients % count) or 1,
        "load.connections": max(1, load.connections // count + (index < load.connections % count)),
        "load.processes": 1,
        "load.nodes": 0,
    }
    for key, rate in (("load.rate", load.rate), ("load.to_rate", load.to_rate)):
        if rate is not None:
            changed[key] = rate / count
    return override(recipe.model_copy(update={"sweep": {}, "against": {}, "search": None}), changed)


class Shard:
    """The process itself."""

    def __init__(self, index: int, chunk: int, folder: Path) -> None:
        self._index, self._chunk, self._folder = index, chunk, folder
        self._recipe: BenchRecipe | None = None
        self._count = 1
        self._place: Place | None = None
        self._drive: Drive | None = None
        self._busy: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Do as told until the input ends."""
        reader = asyncio.StreamReader(limit=2**24)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        self._say({"hello": os.environ.get("SLURMD_NODENAME") or os.uname().nodename})
        while line := await reader.readline():
            at = time.monotonic()
            facts = json.loads(line)
            if facts.get("to") not in (None, self._index):
                continue
            if facts["do"] == "clock":
                self._say({"clock": facts["id"], "at": at})
            elif facts["do"] == "stop":
                if self._drive is not None:
                    self._drive.stop(facts["why"])
            else:
                self._busy = asyncio.create_task(self._done(facts))

    async def _done(self, facts: Mapping[str, Any]) -> None:
        try:
            await getattr(self, f"_{facts['do']}")(facts)
        except AiHowError as error:
            self._say({"error": error.message, "cause": error.cause})
        except OSError as error:
            self._say({"unreachable": str(error)})

    async def _prepare(self, facts: Mapping[str, Any]) -> None:
        self._recipe, self._count = BenchRecipe.model_validate(facts["recipe"]), facts["count"]
        address = Address(*facts["address"]) if facts["address"] else None
        self._place = Place(
            LocalGate(), self._folder, address, facts["token"], settings=facts.get("settings") or {}
        )
        self._say({"ready": True})

    async def _calibrate(self, facts: Mapping[str, Any]) -> None:
        assert self._recipe is not None and self._place is not None
        own = part_of(self._recipe, self._index, self._count)
        address = self._place.address
        with reference_server(self._place.gate, tls=bool(address and address.trust is not None)) as reference:
            work = self._work(own, replace(self._place, address=reference, token=None))
            found = await calibrate(own, work, refuse=False)
        self._say({"calibration": found.model_dump()})

    async def _run(self, facts: Mapping[str, Any]) -> None:
        assert self._recipe is not None and self._place is not None
        number, at, load = facts["number"], facts["at"], self._recipe.load
        own = part_of(self._recipe, self._index, self._count)
        work, first = self._work(own, self._place), first_of(facts["lot"], number) + self._index
        work = replace(work, request=_stepped(work, first, self._count))
        self._drive = Drive(work, self._progress)
        if load.arrivals == "closed":
            taken = await self._drive.closed(own.load.clients, load.seconds, at)
        else:
            mine = schedule.shard(schedule.of_load(load, number), self._index, self._count)
            taken = await self._drive.open(mine, at)
        self._drive = None
        self._hand_over(taken)

    def _work(self, recipe: BenchRecipe, place: Place) -> Work:
        return cast(Loaded, target_of(recipe.target.api)).work(recipe, place)

    def _progress(self, progress: Progress) -> None:
        self._say({"progress": [progress.sent, progress.good, progress.failed, progress.seconds]})

    def _hand_over(self, taken: Taken) -> None:
        text = base64.b64encode(packed(taken.exchanges)).decode()
        for at in range(0, len(text), self._chunk):
            self._say({"part": text[at : at + self._chunk]})
        self._say({"taken": [taken.started, taken.seconds, taken.busy, taken.stopped]})

    def _say(self, facts: Mapping[str, Any]) -> None:
        print(json.dumps(facts, separators=(",", ":")), flush=True)


def _stepped(work: Work, first: int, step: int) -> Any:
    """Requests of one process: none that another one sends."""
    return lambda index: work.request(first + step * index)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=int, default=int(os.environ.get("SLURM_PROCID", "0")))
    parser.add_argument("--chunk", type=int, default=900, help="characters of a line that carries samples")
    args = parser.parse_args()
    with first_in_line(), tempfile.TemporaryDirectory(prefix="ai-how-bench-") as folder:
        uvloop.run(Shard(args.index, args.chunk, Path(folder)).serve())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
