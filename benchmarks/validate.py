"""How long a file of a thousand nodes takes to be read and checked, inside a process that has everything imported.

Three files: one group of a thousand nodes; a thousand groups of one node, each with its own address, on a line of
its own; and the same in blocks, six lines a node. ``python benchmarks/validate.py [--rounds N] [--json]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping

from ai_how.spec import parse

NODES = 1000
#: Milliseconds.
BOUND = 300

_HEAD = """\
version: "1.0"
metadata: {name: thousand}
global: {networks: {hpc_network: {subnet: "10.0.0.0/16", gateway: "10.0.0.1"}}}
clusters:
  hpc:
    controller: {ip_address: "10.0.0.2"}
    compute_nodes:"""
_KEYS = ("count: 1", "cpu_cores: 8", "memory_gb: 16", "disk_gb: 100")


def files() -> dict[str, str]:
    """The text of each file by what it is."""
    addresses = [f'ip_range: "10.0.{1 + index // 250}.{1 + index % 250}"' for index in range(NODES)]
    entries = [(f"name: n{index}x", *_KEYS, address) for index, address in enumerate(addresses)]
    group = f'{{count: {NODES}, cpu_cores: 8, memory_gb: 16, ip_range: "10.0.1.1-10.0.5.250"}}'
    return {
        "one group of 1,000 nodes": f"{_HEAD} {group}\n",
        "1,000 groups, a line each": "\n".join(
            [_HEAD, *(f"      - {{{', '.join(keys)}}}" for keys in entries)]
        ),
        "1,000 groups, in blocks": "\n".join(
            [_HEAD, *("      - " + "\n        ".join(keys) for keys in entries)]
        ),
    }


def measure(rounds: int) -> Mapping[str, Mapping[str, float]]:
    """Milliseconds of each file: the first time, the median and the slowest of ``rounds`` more, and their CPU time."""
    found = {}
    for name, text in files().items():
        taken, worked = [], []
        for _ in range(rounds + 1):
            begun, worked_before = time.perf_counter(), time.process_time()
            spec = parse(text).spec
            taken.append(1000 * (time.perf_counter() - begun))
            worked.append(1000 * (time.process_time() - worked_before))
            assert len(spec.node_names) == NODES
        first, *others = taken
        found[name] = {
            "first": first,
            "median": statistics.median(others),
            "slowest": max(others),
            "CPU": statistics.median(worked[1:]),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.rounds)
    if args.json:
        print(json.dumps({"bound_ms": BOUND, "files": found}, indent=2))
    else:
        for name, figures in found.items():
            print(f"{name:<28} " + "   ".join(f"{key} {value:6.1f} ms" for key, value in figures.items()))
        print(f"{'bound':<28} {BOUND} ms")
    return 0 if all(max(figures["first"], figures["median"]) <= BOUND for figures in found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
