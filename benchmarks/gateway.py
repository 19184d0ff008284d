"""What the gateway adds to a request, beside nginx and LiteLLM's proxy in front of the same backend, in one run.

The gateway checks a token, counts what is used and logs every request. At one request at a time the subjects take
turns in blocks, so that what else the machine does meets all of them alike, and each is compared with the backend asked
directly. At 64 at once wrk asks where it is installed, and the backend is nginx where that is, so that neither is what
is measured; otherwise both are programs of this file. ``cpu`` is what the subject's processes worked for each request.

``python benchmarks/gateway.py [--rounds N] [--seconds S] [--workers 1,2] [--litellm PATH] [--limits] [--first]
[--replicas N]``

nginx and wrk are Debian's packages ``nginx-light`` and ``wrk``. LiteLLM is asked when ``--litellm`` names its program,
in a virtual environment of its own: ``python3 -m venv x && x/bin/pip install 'litellm[proxy]'``. All processes share
the cores that this one may use: ``taskset -c 0,1 python benchmarks/gateway.py``. ``--first`` asks for real-time
priority for all of them, which root may have. ``--json`` prints all of it for a program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any

import uvloop
from gateway_subjects import ANSWER, PATH, Subject, ask, gateway, litellm, nginx, proxy, python_backend

from ai_how.bench.priority import first_in_line

AT_ONCE = 64
SOAK = 100_000
#: The bounds that the project has set itself: milliseconds, shares of others, and percent.
BOUNDS = {
    "overhead median ms": 0.4,
    "overhead p99 ms": 1.5,
    "times litellm": 60.0,
    "share of nginx": 0.06,
    "first byte added ms": 1.0,
    "memory growth %": 5.0,
}


# --- measuring ------------------------------------------------------------------------------------------


async def in_turns(
    subjects: Sequence[tuple[Subject, bytes]], rounds: int, block: int
) -> dict[str, dict[str, float]]:
    """One request at a time, the subjects in blocks that take turns."""
    times: dict[str, list[float]] = {subject.name: [] for subject, _ in subjects}
    cpu: dict[str, float] = dict.fromkeys(times, 0.0)
    for subject, raw in subjects:
        await ask(subject.port, raw, min(block, 100))
    for _ in range(rounds):
        for subject, raw in subjects:
            # A slow subject is asked less often: it would take most of the time of the run.
            worked, count = subject.worked(), block if subject.name != "litellm" else max(block // 20, 10)
            await ask(subject.port, raw, count, times[subject.name])
            cpu[subject.name] += subject.worked() - worked
    found = {}
    for name, taken in times.items():
        cuts = statistics.quantiles(taken, n=100)
        found[name] = {"median ms": cuts[49], "p99 ms": cuts[98], "cpu ms": cpu[name] * 1000 / len(taken)}
    return found


async def many(subject: Subject, folder: Path, seconds: float) -> dict[str, float]:
    """Requests a second with 64 at once, and what the subject worked for each."""
    raw = subject.request()
    await asyncio.gather(*(ask(subject.port, raw, 3) for _ in range(8)))
    worked = subject.worked()
    rate = (
        await _by_wrk(subject, folder, seconds)
        if shutil.which("wrk")
        else await _by_ourselves(subject, raw, seconds)
    )
    return {"per second": rate, "cpu ms": (subject.worked() - worked) * 1000 / (rate * seconds)}


async def _by_wrk(subject: Subject, folder: Path, seconds: float) -> float:
    script = folder / f"{subject.port}.lua"
    headers = {"Authorization": f"Bearer {subject.token}", "Content-Type": "application/json"}
    lines = [f"wrk.headers[{json.dumps(key)}] = {json.dumps(value)}" for key, value in headers.items()]
    script.write_text(
        "\n".join(['wrk.method = "POST"', f"wrk.body = [[{json.dumps(subject.body())}]]", *lines])
    )
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{AT_ONCE}", f"-d{round(seconds)}s", "--timeout", "30s", "-s", str(script),
        f"http://127.0.0.1:{subject.port}{PATH}", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = (await process.communicate())[0].decode()
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


async def _by_ourselves(subject: Subject, raw: bytes, seconds: float) -> float:
    times: list[float] = []
    began = time.perf_counter()

    async def go_on() -> None:
        while time.perf_counter() - began < seconds:
            await ask(subject.port, raw, 50, times)

    await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))
    return len(times) / (time.perf_counter() - began)


async def soak(subject: Subject, count: int) -> dict[str, float]:
    """Resident memory before and after so many requests, when there is nothing more to be warmed up."""
    raw = subject.request()

    async def some(number: int) -> None:
        await asyncio.gather(*(ask(subject.port, raw, number // AT_ONCE) for _ in range(AT_ONCE)))

    await some(6400)
    before = subject.memory()
    await some(count)
    after = subject.memory()
    return {
        "requests": count,
        "before MiB": before / 2**20,
        "after MiB": after / 2**20,
        "growth %": (after / before - 1) * 100,
    }


# --- the run --------------------------------------------------------------------------------------------


async def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"cores": sorted(os.sched_getaffinity(0)), "left out": missing(args)}
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(python_backend(folder))
        ours = await stack.enter_async_context(
            gateway(folder, direct, 1, limits=args.limits, count=args.replicas)
        )
        others = [await stack.enter_async_context(proxy(folder, direct))] if shutil.which("nginx") else []
        if args.litellm:
            others.append(await stack.enter_async_context(litellm(folder, args.litellm, direct)))
        subjects = [direct, ours, *others]
        found["one at a time"] = await in_turns(
            [(one, one.request()) for one in subjects], args.rounds, args.block
        )
        streams = [(one, one.request(stream=True)) for one in subjects]
        found["first byte of a stream"] = await in_turns(streams, args.rounds, args.block)
        translated = [(direct, direct.request(stream=True)), (ours, ours.request("/api/chat", stream=True))]
        found["first byte of a translated stream"] = await in_turns(translated, args.rounds, args.block)
        if not args.no_soak:
            found["memory"] = await soak(ours, SOAK)
    found["64 at once"] = await at_once(args, folder)
    found["bounds"] = judged(found)
    return found


def missing(args: argparse.Namespace) -> list[str]:
    gone = [
        f"{name}: not on PATH (Debian: {package})"
        for name, package in (("nginx", "nginx-light"), ("wrk", "wrk"))
        if not shutil.which(name)
    ]
    return gone + ([] if args.litellm else ["litellm: --litellm names no program"])


async def at_once(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    async with AsyncExitStack() as stack:
        if shutil.which("nginx"):
            inside = f"location / {{ return 200 '{ANSWER.decode()}'; }}"
            direct = await stack.enter_async_context(nginx(folder, "backend", inside))
            proxies = [await stack.enter_async_context(proxy(folder, direct))]
        else:
            direct, proxies = await stack.enter_async_context(python_backend(folder)), []
        subjects = [direct, *proxies]
        for workers in args.workers:
            subjects.append(
                await stack.enter_async_context(
                    gateway(folder, direct, workers, limits=args.limits, count=args.replicas)
                )
            )
        for subject in subjects:
            found[subject.name] = await many(subject, folder, args.seconds)
        if args.litellm:
            slow = await stack.enter_async_context(litellm(folder, args.litellm, direct))
            found[slow.name] = await many(slow, folder, args.seconds)
    return found


def judged(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each bound, what was measured against it, and whether it held."""
    one, first, rates = found["one at a time"], found["first byte of a stream"], found["64 at once"]
    measured = {
        "overhead median ms": one["gateway"]["median ms"] - one["direct"]["median ms"],
        "overhead p99 ms": one["gateway"]["p99 ms"] - one["direct"]["p99 ms"],
        "first byte added ms": first["gateway"]["median ms"] - first["direct"]["median ms"],
    }
    if "memory" in found:
        measured["memory growth %"] = found["memory"]["growth %"]
    ours = rates["gateway"]["per second"]
    for label, name in (("times litellm", "litellm"), ("share of nginx", "nginx")):
        if name in rates:
            measured[label] = ours / rates[name]["per second"]
    return {
        label: {
            "measured": value,
            "bound": BOUNDS[label],
            "held": value >= BOUNDS[label]
            if label in ("times litellm", "share of nginx")
            else value <= BOUNDS[label],
        }
        for label, value in measured.items()
    }


def printed(found: Mapping[str, Any]) -> None:
    print(f"cores {', '.join(map(str, found['cores']))}")
    for line in found["left out"]:
        print(f"left out: {line}")
    for part in (
        "one at a time",
        "first byte of a stream",
        "first byte of a translated stream",
        "64 at once",
    ):
        print(part)
        for name, figures in found[part].items():
            print(f"  {name:<22} " + "   ".join(f"{key} {value:11,.3f}" for key, value in figures.items()))
    if "memory" in found:
        print("memory\n  " + "   ".join(f"{key} {value:,.2f}" for key, value in found["memory"].items()))
    print("bounds")
    for label, facts in found["bounds"].items():
        held = "held" if facts["held"] else "NOT HELD"
        print(f"  {label:<22} {facts['measured']:9.3f}   bound {facts['bound']:6.2f}   {held}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--rounds", type=int, default=10, help="turns of each subject at one request at a time"
    )
    parser.add_argument("--block", type=int, default=400, help="requests of a turn")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each row with 64 at once")
    parser.add_argument(
        "--workers",
        type=lambda text: [int(one) for one in text.split(",")],
        default=[1, 2],
        help="such as 1,2",
    )
    parser.add_argument(
        "--litellm", metavar="PATH", help="the program litellm of another virtual environment"
    )
    parser.add_argument("--limits", action="store_true", help="a token that has a rate and a budget")
    parser.add_argument("--replicas", type=int, default=1, help="behind the gateway, in 20 models; they beat")
    parser.add_argument("--no-soak", action="store_true", help=f"leave the {SOAK:,} requests out")
    parser.add_argument("--first", action="store_true", help="real-time priority, where the system allows it")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if 1 not in args.workers:
        parser.error("--workers must have 1 among them: the bounds are of one process")
    with (
        tempfile.TemporaryDirectory(prefix="aih-") as folder,
        first_in_line() if args.first else nullcontext(),
    ):
        found = uvloop.run(run(args, Path(folder)))
    print(json.dumps(found, indent=2)) if args.json else printed(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
