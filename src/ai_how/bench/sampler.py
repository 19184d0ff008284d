"""Samples this machine, and the process that listens on a port, in a process of its own: the generator has no time.

It writes one line of JSON a sample to standard output and ends when whoever started it has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

#: Energy counters of the processor, in microjoules; they are root's own on most systems.
_RAPL = "/sys/class/powercap"

Probe = Callable[[float], Iterator[tuple[str, str, float, str]]]
"""Asked with the seconds since the last time; tells (name, unit, value, where)."""


def machine() -> Probe:
    """CPU, memory, network and disks of this machine."""
    node = os.uname().nodename
    before: dict[str, float] = {}
    psutil.cpu_percent()

    def probe(passed: float) -> Iterator[tuple[str, str, float, str]]:
        yield "cpu", "%", psutil.cpu_percent(), node
        yield "memory", "B", float(psutil.virtual_memory().used), node
        net, disk = psutil.net_io_counters(), psutil.disk_io_counters()
        totals = {"network in": net.bytes_recv, "network out": net.bytes_sent}
        if disk is not None:
            totals |= {"disk read": disk.read_bytes, "disk write": disk.write_bytes}
        for name, total in totals.items():
            if name in before:
                yield name, "B/s", max(0.0, total - before[name]) / passed, node
            before[name] = total

    return probe


def service(port: int, name: str = "service") -> Probe:
    """The process that listens on a port of this machine, with its children; nothing where none is to be seen."""
    last: dict[int, float] = {}
    found: list[psutil.Process] = []

    def probe(passed: float) -> Iterator[tuple[str, str, float, str]]:
        if not found:
            found.extend(_listener(port))
        if not found:
            return
        seconds, memory = 0.0, 0.0
        for process in (found[0], *found[0].children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                used = times.user + times.system
                seconds += used - last.get(process.pid, used)
                last[process.pid] = used
                memory += process.memory_info().rss
        yield "cpu", "cores", seconds / passed, name
        yield "memory", "B", memory, name

    return probe


def _listener(port: int) -> Iterator[psutil.Process]:
    with suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
                yield psutil.Process(one.pid)


def devices() -> Probe | None:
    """GPUs by NVML; None where there is none."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # noqa: BLE001 - NVML's errors are classes of its own, and no GPU is no mistake
        return None

    def probe(passed: float) -> Iterator[tuple[str, str, float, str]]:
        for index, handle in enumerate(handles):
            with suppress(pynvml.NVMLError):
                yield "gpu", "%", float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu), f"gpu {index}"
                yield "memory", "B", float(pynvml.nvmlDeviceGetMemoryInfo(handle).used), f"gpu {index}"
                yield "power", "W", pynvml.nvmlDeviceGetPowerUsage(handle) / 1000, f"gpu {index}"

    return probe


def packages(folder: Path = Path(_RAPL)) -> Probe | None:
    """Power of the processor's packages by RAPL; None where nobody may read it."""
    counters = [path for path in sorted(folder.glob("intel-rapl:?/energy_uj")) if os.access(path, os.R_OK)]
    if not counters:
        return None
    before: dict[Path, int] = {}

    def probe(passed: float) -> Iterator[tuple[str, str, float, str]]:
        for index, path in enumerate(counters):
            with suppress(OSError, ValueError):
                energy = int(path.read_text())
                if path in before and energy >= before[path]:
                    yield "power", "W", (energy - before[path]) / 1e6 / passed, f"package {index}"
                before[path] = energy

    return probe


def sample(probes: Sequence[Probe], passed: float) -> dict[str, Any]:
    """One sample of everything; what fails is left out."""
    values: list[list[Any]] = []
    for probe in probes:
        with suppress(psutil.Error, OSError):
            values += map(list, probe(passed))
    return {"at": time.monotonic(), "values": values}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--port", type=int, action="append", default=[], help="of a service; the second is side b"
    )
    parser.add_argument("--every", type=float, default=0.5)
    parser.add_argument("--parent", type=int, required=True)
    args = parser.parse_args()
    os.nice(5)
    names = ("service", "service, side b")
    services = [service(port, name) for port, name in zip(args.port, names, strict=False)]
    probes = [machine(), *filter(None, (devices(), packages())), *services]
    last = time.monotonic()
    while os.getppid() == args.parent:
        time.sleep(args.every)
        now = time.monotonic()
        print(json.dumps(sample(probes, now - last)), flush=True)
        last = now
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
