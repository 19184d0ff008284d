"""The launcher's decisions, and what the files that run on nodes may use."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from ai_how.serving import replica_launcher
from ai_how.serving.engines import ENGINES, Place, ServeRequest
from ai_how.serving.engines.guard import GUARD_FILES
from ai_how.serving.replicas.render import LAUNCHER_FILES

SENT = {
    file
    for engine in ENGINES.values()
    for place in (Place.of_environment(Path("/env")), Place())
    for file in engine.launch(ServeRequest("m", Path("/a/b/c/d/e/f")), place).files
}
BESIDE = {file.stem for file in (*LAUNCHER_FILES, *GUARD_FILES)}
PAGE = {"running": "vllm:num_requests_running", "waiting": "vllm:num_requests_waiting", "cache": "vllm:cache"}


@pytest.mark.parametrize("file", sorted({*LAUNCHER_FILES, *GUARD_FILES, *SENT}), ids=lambda file: file.name)
def test_what_is_sent_to_a_node_runs_on_an_old_python_without_ai_how(file: Path) -> None:
    """By its grammar, and by what it imports: the standard library and what is sent with it."""
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.partition(".")[0] in sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("ai_how."):
            first = node.module.partition(".")[0]
            assert first in sys.stdlib_module_names or first in BESIDE


def test_a_load_is_added_up_over_labels() -> None:
    text = (
        "# HELP vllm:num_requests_running 9\n"
        'vllm:num_requests_running{engine="0",model_name="a b}"} 2.0\n'
        'vllm:num_requests_running{engine="1"} 1.0 1795903569\n'
        "vllm:num_requests_waiting 4\nvllm:num_requests_waiting_total 7\nvllm:cache nonsense\n"
    )
    assert replica_launcher.read_load(text, PAGE) == {"running": 3, "waiting": 4}
    assert replica_launcher.read_load("vllm:cache 0.5\n", PAGE) == {"cache": 0.5}
    assert replica_launcher.read_load("", PAGE) == {}


@pytest.mark.parametrize(
    ("names", "address"),
    [
        ({"gpu01": ["10.1.0.7"]}, "10.1.0.7"),
        ({"gpu01": ["127.0.1.1", "10.1.0.7"]}, "10.1.0.7"),
        ({}, "127.0.0.1"),
        ({"login": ["127.0.0.1"]}, "127.0.0.1"),
    ],
)
def test_a_node_listens_where_others_reach_it(
    names: dict[str, list[str]], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "gpu01")
    monkeypatch.setenv("SLURM_SUBMIT_HOST", "login")
    monkeypatch.setattr(replica_launcher, "addresses", lambda name: names.get(name, []))
    assert replica_launcher.listen_address("node") == address
    assert replica_launcher.listen_address("loopback") == "127.0.0.1"


def test_an_engine_that_loads_is_looked_at_often_enough() -> None:
    """A wake from nothing loses no more than this by looking."""
    assert replica_launcher.LOOK_SECONDS < replica_launcher.LOOK_LATER <= 0.05
