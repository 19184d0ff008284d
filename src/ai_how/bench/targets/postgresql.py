"""A PostgreSQL to measure: one that is given in libpq's words, or one that is brought up beside the client.

The one beside the client has pgvector, comes from the runtime environment `retrieval`, and listens on a Unix socket
alone: nobody else reaches it, and no network is part of what is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_how.bench.interfaces import Place
from ai_how.bench.targets.driven import PROBES, python_of
from ai_how.run import Command

ENVIRONMENT = "retrieval"
#: Variables of libpq that say who somebody is, and are handed on to a job in a file of its owner's alone.
_LIBPQ = ("PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGSSLMODE", "PGSSLROOTCERT")


def beside(
    place: Place,
    server: str | None,
    commands: Sequence[Sequence[str]],
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    timeout: float,
) -> tuple[Command, ...]:
    """The commands to run so that ``commands`` find their server: each by itself, or all beside one of their own."""
    if server is not None:
        env = {name: os.environ[name] for name in _LIBPQ if name in os.environ}
        return tuple(Command(tuple(words), env=env, timeout=timeout) for words in commands)
    python = python_of(place, ENVIRONMENT)
    asked = folder / "postgres.json"
    asked.write_text(
        json.dumps({"commands": [list(words) for words in commands], "settings": dict(settings or {})}),
        encoding="utf-8",
    )
    return (Command((python, str(PROBES / "with_postgres.py"), str(asked)), timeout=timeout),)
