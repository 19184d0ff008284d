"""Tools that load storage and networks: elbencho, IOR, mdtest, warp, NCCL's tests."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

from ai_how.bench.interfaces import Place
from ai_how.bench.model import Value
from ai_how.bench.second.model import Tool, milliseconds
from ai_how.bench.targets.s3 import at_the_store, keys_of
from ai_how.bench.targets.web import wanted_address
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Collective, Fio, Metadata, Objects, size_bytes

_ROW = re.compile(r"^\s+File (creation|stat|read|removal)\s+[\d.]+\s+[\d.]+\s+([\d.]+)", re.MULTILINE)
_AVERAGE = re.compile(r"\* Average: ([\d.]+) MiB/s, ([\d.]+) obj/s")
_REQUESTS = re.compile(r"\* Reqs: .*?50%: ([\d.]+)ms.*?99%: ([\d.]+)ms")
_NCCL = re.compile(r"^\s+(\d+)\s+\d+\s+\w+\s+\w+\s+-?\d+\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", re.MULTILINE)


def ask_elbencho(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    asked = recipe.workload.fio or Fio()
    write = "write" in asked.pattern
    # What is read has to be there: it is written first, and the last line is the one that counts.
    words = (
        "elbencho", "--write", *(() if write else ("--read",)), *(("--rand",) if "rand" in asked.pattern else ()),
        *(("--direct",) if asked.direct else ()), f"--block={asked.block}", f"--size={asked.size}",
        f"--threads={asked.jobs}", f"--iodepth={asked.depth}", f"--csvfile={folder / 'elbencho.csv'}", "--nolive",
        str(folder / "file"),
    )  # fmt: skip
    return Command(words, cwd=folder, timeout=3600)


def parse_elbencho(text: str) -> Mapping[str, Value]:
    """Pure. The figures of the slowest thread's end, as the whole work took that long."""
    row = list(csv.DictReader(text.splitlines()))[-1]
    way = row["operation"].lower()
    return {
        f"{way}_bandwidth": Value(value=float(row["MiB/s [last]"]), unit="MiB/s"),
        f"{way}_operations": Value(value=float(row["IOPS [last]"]), unit="1/s"),
    }


def ask_ior(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    asked = recipe.workload.fio or Fio()
    block = size_bytes(asked.block)
    words = (
        "ior", "-a", "POSIX", "-w", *(() if "write" in asked.pattern else ("-r",)), "-e",
        *(("-z",) if "rand" in asked.pattern else ()), *(("--posix.odirect",) if asked.direct else ()),
        "-t", str(block), "-b", str(size_bytes(asked.size) // block * block), "-o", str(folder / "ior.data"),
        "-O", f"summaryFormat=JSON,summaryFile={folder / 'ior.json'}",
    )  # fmt: skip
    return Command(words, cwd=folder, timeout=3600)


def parse_ior(text: str) -> Mapping[str, Value]:
    """Pure."""
    rows = [row for test in json.loads(text)["tests"] for result in test["Results"] for row in result]
    return {f"{row['access']}_bandwidth": Value(value=float(row["bwMiB"]), unit="MiB/s") for row in rows}


def ask_mdtest(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    asked = recipe.workload.metadata or Metadata()
    words = ("mdtest", "-F", "-n", str(asked.files), "-w", str(asked.bytes), "-d", str(folder / "mdtest"))
    return Command((*words, *(() if asked.shared else ("-u",))), cwd=folder, timeout=3600)


def parse_mdtest(text: str) -> Mapping[str, Value]:
    """Pure."""
    ours = {"creation": "creates", "stat": "stats", "read": "opens", "removal": "removes"}
    return {ours[name]: Value(value=float(mean), unit="1/s") for name, mean in _ROW.findall(text)}


def ask_warp(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    asked = recipe.workload.objects or Objects()
    place = at_the_store(recipe, place)
    address, (key, secret) = str(wanted_address(place)), keys_of(asked, place)
    words = (
        "warp", "put" if asked.operation == "part" else asked.operation, "--host", address, "--bucket",
        f"{asked.bucket}-warp", "--obj.size", f"{asked.bytes}B", "--concurrent", str(recipe.load.clients),
        "--duration", f"{max(1, round(recipe.load.seconds))}s", "--no-color", "--benchdata", str(folder / "warp"),
    )  # fmt: skip
    keys = {"WARP_ACCESS_KEY": key, "WARP_SECRET_KEY": secret, "WARP_REGION": asked.region}
    return Command(words, env=keys, cwd=folder, timeout=recipe.load.seconds + 600)


def parse_warp(text: str) -> Mapping[str, Value]:
    """Pure."""
    average, times = _AVERAGE.search(text), _REQUESTS.search(text)
    if average is None:
        return {}
    found = {
        "bandwidth": Value(value=float(average[1]), unit="MiB/s"),
        "throughput": Value(value=float(average[2]), unit="1/s"),
    }
    if times is not None:
        found |= {"latency.p50": milliseconds(float(times[1])), "latency.p99": milliseconds(float(times[2]))}
    return found


def ask_nccl(recipe: BenchRecipe, place: Place, folder: Path) -> Command:
    asked = recipe.workload.collective or Collective()
    sizes = [size_bytes(size) for size in asked.sizes]
    words = (
        "all_reduce_perf", "-b", str(min(sizes)), "-e", str(max(sizes)), "-f", "2", "-g", str(asked.processes),
        "-n", str(asked.rounds),
    )  # fmt: skip
    return Command(words, cwd=folder, timeout=3600)


def parse_nccl(text: str) -> Mapping[str, Value]:
    """Pure. Its gigabytes are powers of ten; ours are powers of two."""
    found: dict[str, Value] = {}
    for size, _, algorithm, bus in _NCCL.findall(text):
        found[f"algorithm_bandwidth.{size}"] = Value(value=float(algorithm) * 1e9 / 2**30, unit="GiB/s")
        found[f"bus_bandwidth.{size}"] = Value(value=float(bus) * 1e9 / 2**30, unit="GiB/s")
    return found


TOOLS = (
    Tool("elbencho", "elbencho", ("fio",), ask_elbencho, parse_elbencho, "elbencho.csv"),
    Tool("ior", "ior", ("fio",), ask_ior, parse_ior, "ior.json"),
    Tool("mdtest", "mdtest", ("metadata",), ask_mdtest, parse_mdtest),
    Tool("warp", "warp", ("s3",), ask_warp, parse_warp),
    Tool("nccl-tests", "all_reduce_perf", ("collective",), ask_nccl, parse_nccl),
)
