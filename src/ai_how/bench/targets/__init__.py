"""The kinds of targets: a module each, with its ``TARGET``.

A new kind: its word and its keys in :mod:`ai_how.spec.bench_target`, a module here, a line in :data:`TARGETS`, and a
row in ``tests/contract/test_bench_targets.py``. Modules are imported when they are asked for, so that heavy packages
are.
"""

from __future__ import annotations

import importlib
from typing import cast

from ai_how.bench.interfaces import Target

#: The module of each kind, by the word behind ``target.api``.
TARGETS: dict[str, str] = {
    "http": "ai_how.bench.targets.http",
    "openai": "ai_how.bench.targets.openai",
    "ollama": "ai_how.bench.targets.ollama",
    "embeddings": "ai_how.bench.targets.embeddings",
    "chain": "ai_how.bench.targets.chain",
    "s3": "ai_how.bench.targets.s3",
    "scheduler": "ai_how.bench.targets.scheduler",
    "training": "ai_how.bench.targets.training",
    "collective": "ai_how.bench.targets.collective",
    "pair": "ai_how.bench.targets.pair",
    "retrieval": "ai_how.bench.targets.retrieval",
    "sql": "ai_how.bench.targets.sql",
    "fio": "ai_how.bench.targets.fio",
    "metadata": "ai_how.bench.targets.metadata",
    "checkpoint": "ai_how.bench.targets.checkpoint",
    "loader": "ai_how.bench.targets.loader",
}


def target_of(api: str) -> Target:
    """The kind of target that a recipe names."""
    return cast(Target, importlib.import_module(TARGETS[api]).TARGET)
