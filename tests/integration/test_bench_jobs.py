"""Benchmarks as Slurm jobs of a real site: every kind of target that is a program runs on a node, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from live_site import LiveSite

HEAD = 'version: "1.0"\nkind: bench\nname: on-a-node\nrepetitions: 1\n'
JOB = "job: {time_limit: '00:05:00', memory: 1500M}"
TWO_NODES = "job: {nodes: 2, tasks_per_node: 1, time_limit: '00:05:00', memory: 1500M}"
RECIPES = {
    "fio": f"target: {{api: fio, {JOB}}}\nworkload: {{fio: {{size: 4M}}}}\nload: {{arrivals: closed, seconds: 1}}\n",
    "sql": f"target: {{api: sql, {JOB}}}\nload: {{arrivals: poisson, rate: 20, seconds: 1, connections: 2}}\n",
    "retrieval": f"target: {{api: retrieval, {JOB}}}\nload: {{arrivals: closed, seconds: 0.2}}\nworkload: {{retrieval: "
    "{store: pgvector, index: flat, vectors: 300, dimension: 8, queries: 10}}\n",
    "chroma": f"target: {{api: retrieval, {JOB}}}\nload: {{arrivals: closed, seconds: 0.2}}\nworkload: {{retrieval: "
    "{store: chroma, vectors: 300, dimension: 8, queries: 10, settings: [64]}}\n",
    "lancedb": f"target: {{api: retrieval, {JOB}}}\nload: {{arrivals: closed, seconds: 0.2}}\nworkload: {{retrieval: "
    "{store: lancedb, index: flat, vectors: 300, dimension: 8, queries: 10}}\n",
    "faiss": f"target: {{api: retrieval, {JOB}}}\nload: {{arrivals: closed, seconds: 0.2}}\nworkload: {{retrieval: "
    "{store: faiss, index: flat, vectors: 300, dimension: 8, queries: 10}}\n",
    "metadata": f"target: {{api: metadata, {JOB}}}\nload: {{arrivals: closed, clients: 2}}\n"
    "workload: {metadata: {files: 50, bytes: 10}}\n",
    "checkpoint": f"target: {{api: checkpoint, {JOB}}}\nload: {{arrivals: closed}}\n"
    "workload: {checkpoint: {size: 1M, rounds: 2}}\n",
    "loader": f"target: {{api: loader, {JOB}}}\nload: {{arrivals: closed}}\n"
    "workload: {loader: {files: 32, bytes: 512, batch: 8, workers: 1, epochs: 1}}\n",
    "training": f"target: {{api: training, {TWO_NODES}}}\nload: {{arrivals: closed}}\n"
    "workload: {training: {recipe: digits, processes: [1, 2], steps: 5}}\n",
    "collective": f"target: {{api: collective, {TWO_NODES}}}\nload: {{arrivals: closed}}\n"
    "workload: {collective: {sizes: [4K], rounds: 3}}\n",
    "scheduler": "target: {api: scheduler}\nload: {arrivals: closed, clients: 2}\n"
    "workload: {scheduler: {jobs: 4, array: 10, depth: 20}}\n",
    "s3": "target: {api: s3}\nload: {arrivals: constant, rate: 50, seconds: 0.5}\n"
    "workload: {objects: {operation: put, bytes: 1000, objects: 5}}\n",
    "pair": f"target: {{api: pair}}\nload: {{arrivals: closed}}\nworkload:\n  pair:\n"
    "    first: {target: {api: s3}, load: {arrivals: constant, rate: 50, seconds: 2}}\n"
    f"    second: {{target: {{api: metadata, {JOB}}}, workload: {{metadata: {{files: 1500}}}}, "
    "load: {arrivals: closed}}\n",
}
FIGURES = {
    "fio": "read_bandwidth",
    "sql": "schedule_lag.p50",
    "retrieval": "recall",
    "chroma": "recall.ef=64",
    "lancedb": "recall",
    "faiss": "recall",
    "metadata": "creates",
    "checkpoint": "save_bandwidth",
    "loader": "samples",
    "training": "efficiency.2",
    "collective": "bus_bandwidth.4K",
    "scheduler": "submits",
    "s3": "latency.p50",
    "pair": "second.creates.ratio",
}


@pytest.mark.parametrize("kind", RECIPES)
def test_it_is_measured_on_a_node(kind: str, site: LiveSite, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "result.json"
    recipe.write_text(HEAD + RECIPES[kind])
    facts: dict[str, Any] = site.facts("bench", "run", str(recipe), "--out", str(out), "--no-track")
    assert facts["partial"] is None
    (run,) = facts["runs"]
    assert run["good"] == run["sent"] > 0 and not run["errors"]
    figures = {figure["name"]: figure["value"] for figure in facts["figures"]}
    assert FIGURES[kind] in figures
    if FIGURES[kind] == "recall":
        assert figures["recall"] == 1.0, "exact search finds everything"
    if "job:" in RECIPES[kind] and kind != "pair":
        job = site.job(run["notes"]["job"])
        assert job["JobState"] == "COMPLETED" and run["notes"]["node"].startswith("node")
    if kind in ("collective", "training"):
        assert run["notes"]["node"] == "node[01-02]"
    assert not list((site.root / "share").glob("bench-*")) + list((site.root / "share").glob("scratch-*"))
    secret = (site.root / "etc" / "secrets" / "s3-secret-key").read_text().strip()
    assert secret not in out.read_text()
