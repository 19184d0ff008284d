"""From an older version of ``cluster.yaml`` to the next, with comments, order and layout kept. Pure.

The shape of 0.9, the first draft, as far as it differs from 1.0::

    version: "0.9"
    name: lab                            # 1.0: metadata.name
    description: ...                     # 1.0: metadata.description
    telemetry: false                     # 1.0: global.telemetry
    hpc:                                 # 1.0: clusters.hpc
      controller: {cpus: 1, memory: 1}   # 1.0: cpu_cores, memory_gb
      nodes:                             # 1.0: compute_nodes
        {count: 4, cpus: 2, memory: 4, gpus: [{type: a100, count: 2}]}    # 1.0: devices, model
      slurm:                             # 1.0: slurm_config
        partitions: [gpu, {name: debug, nodes: 2, limit: "00:30:00"}]     # 1.0: max_time
        default: gpu                     # 1.0: default_partition
        max_time: "24:00:00"             # 1.0: max_job_time
        default_time: "01:00:00"         # 1.0: default_job_time
    cloud:                               # 1.0: clusters.cloud
      services: {postgres: {}, s3: {}}   # 1.0: postgresql, object_store
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ai_how.errors import Problem, SpecError
from ai_how.spec.document import Document, Edit, apply, lines_of
from ai_how.spec.load import Path, nearest
from ai_how.spec.versions import CURRENT, OLDER

#: Keys of 0.9 with the word that 1.0 has for them; ``*`` stands for each item of a list.
RENAMED: Mapping[tuple[str, ...], str] = {
    ("hpc", "controller", "cpus"): "cpu_cores",
    ("hpc", "controller", "memory"): "memory_gb",
    ("hpc", "nodes"): "compute_nodes",
    ("hpc", "nodes", "cpus"): "cpu_cores",
    ("hpc", "nodes", "memory"): "memory_gb",
    ("hpc", "nodes", "gpus"): "devices",
    ("hpc", "nodes", "gpus", "*", "type"): "model",
    ("hpc", "slurm"): "slurm_config",
    ("hpc", "slurm", "partitions", "*", "limit"): "max_time",
    ("hpc", "slurm", "default"): "default_partition",
    ("hpc", "slurm", "max_time"): "max_job_time",
    ("hpc", "slurm", "default_time"): "default_job_time",
    ("cloud", "services", "postgres"): "postgresql",
    ("cloud", "services", "s3"): "object_store",
}
#: Keys at the top of 0.9 with the key of 1.0 that holds them.
GATHERED: Mapping[str, str] = {
    "name": "metadata",
    "description": "metadata",
    "telemetry": "global",
    "hpc": "clusters",
    "cloud": "clusters",
}
_STEP = "  "


@dataclass(frozen=True)
class Migrated:
    """The text in the current version. ``steps`` says in words what changed; none when it was current already."""

    text: str
    version: str
    steps: tuple[str, ...]


def migrate(text: str, name: str = "cluster.yaml") -> Migrated:
    """Carry a file over to the current version. What it means is not checked; :func:`ai_how.spec.parse` does that.

    Raises :class:`SpecError` when the text is no YAML, its version is unknown, or an old word and its new one are
    both there.
    """
    version = _version(Document(text, name))
    if version == CURRENT:
        return Migrated(text, version, ())
    renamed, words = _rename(Document(text, name))
    gathered, moves = _gather(Document(renamed, name))
    document = Document(gathered, name)
    done = apply(gathered, [document.replace(("version",), CURRENT)])
    return Migrated(done, version, (*words, *moves, f"version: {version} is now {CURRENT}"))


def _version(document: Document) -> str:
    found = document.data.get("version")
    version = str(found)
    if version in (CURRENT, *OLDER):
        return version
    known = ", ".join((*OLDER, CURRENT))
    close = difflib.get_close_matches(version, (*OLDER, CURRENT), n=1)
    message = "'version' is missing" if found is None else f"there is no version '{version}' of this file"
    todo = f"There are: {known}." + (f" Did you mean {close[0]}?" if close and found is not None else "")
    raise SpecError([_problem(document, ("version",), message, todo)])


def _problem(document: Document, path: Path, message: str, todo: str) -> Problem:
    at = nearest(document.positions, path)
    return Problem(message, document.name, at.line, at.column, todo=todo)


def _rename(document: Document) -> tuple[str, list[str]]:
    edits: list[Edit] = []
    words, problems = [], []
    for path in document.positions:
        new = RENAMED.get(tuple("*" if isinstance(part, int) else part for part in path))
        if new is None:
            continue
        if (*path[:-1], new) in document.positions:
            message = f"'{path[-1]}' and '{new}' are both there, and mean the same"
            problems.append(_problem(document, path, message, "Keep one of them."))
            continue
        edits.append(document.rename(path, new))
        words.append(f"{_dotted(path)} is now {new}")
    if problems:
        raise SpecError(problems)
    return apply(document.text, edits), words


def _gather(document: Document) -> tuple[str, list[str]]:
    """The keys at the top that belong together under one new key, where the first of them stood."""
    keys = document.keys()
    held = [key for key in keys if key in GATHERED]
    problems = [
        _problem(document, (key,), f"'{key}' and '{GATHERED[key]}' are both there", "Keep one of them.")
        for key in held
        if GATHERED[key] in keys
    ]
    if held and not document.in_blocks:
        message = "the whole file is in braces, so there are no lines to move"
        problems.append(_problem(document, (), message, "Write each key at the top on a line of its own."))
    if problems:
        raise SpecError(problems)
    return apply(document.text, _moves(document, held)), [
        f"{key} is now {GATHERED[key]}.{key}" for key in held
    ]


def _moves(document: Document, held: list[str]) -> Iterator[Edit]:
    spans = _spans(document)
    for parent in dict.fromkeys(GATHERED[key] for key in held):
        members = [key for key in held if GATHERED[key] == parent]
        lines = "".join(_indented(document.text[slice(*spans[key])]) for key in members)
        yield Edit(*spans[members[0]], f"{parent}:\n{lines}")
        yield from (Edit(*spans[key], "") for key in members[1:])


def _spans(document: Document) -> Mapping[str, tuple[int, int]]:
    """The lines of each key at the top, empty lines behind it included."""
    keys = document.keys()
    starts = [document.span((key,))[0] for key in keys]
    ends = [*starts[1:], len(document.text)]
    return dict(zip(keys, zip(starts, ends, strict=True), strict=True))


def _indented(text: str) -> str:
    done = "".join(_STEP + line if line.strip() else line for line in lines_of(text))
    return done if done.endswith("\n") else done + "\n"


def _dotted(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
