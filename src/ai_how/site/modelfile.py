"""A model's files as the nodes see them: here, sent to a cluster elsewhere, or there already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import NotFound, UsageError
from ai_how.host import Progress
from ai_how.providers.existing import Reach
from ai_how.run import Command
from ai_how.serving.engines import Engine, read_head
from ai_how.site.control import Site
from ai_how.site.sources import bring

_BEGIN = 4


@dataclass(frozen=True)
class ModelFile:
    """``path`` is that of the nodes, ``here`` that of this machine, None where it is on the cluster alone.

    ``size`` is in bytes; ``head`` are its first bytes, or what an engine reads of a folder.
    """

    name: str
    version: str
    path: Path
    here: Path | None
    size: int
    head: bytes


def find(site: Site, reference: str, engine: Engine, progress: Progress) -> ModelFile:
    """A model in a form that ``engine`` loads, where nodes can load it; to a cluster elsewhere it is sent once.

    A GGUF file by an absolute path that is not here is looked for there. Raises :class:`NotFound` for a model that does
    not exist.
    """
    given = Path(reference)
    if site.reach and given.is_absolute() and given.suffix == ".gguf" and not given.exists():
        return _there(site.reach, given)
    found = bring(site, reference, engine, progress)
    path = found.path.resolve()
    return ModelFile(
        name=found.name,
        version=found.version or "",
        path=_sent(site.reach, path, progress) if site.reach else path,
        here=path,
        size=sum(file.stat().st_size for file in _files(path)),
        head=read_head(path),
    )


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _sent(reach: Reach, path: Path, progress: Progress) -> Path:
    """Copy it there, unless that was done: another size or another time makes another copy."""
    if path.parent.is_relative_to(reach.layout.models / "ollama") or "manifests" in path.parts:
        raise UsageError(
            "a model of Ollama's library cannot be sent to a cluster elsewhere yet",
            todo="Serve it as a GGUF file: with --engine llama.cpp.",
        )
    files = _files(path)
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
    target = reach.cluster.models / (
        f"{path.name}-{digest}" if path.is_dir() else f"{path.stem}-{digest}{path.suffix}"
    )
    # Of a folder the last file that is sent is the sign that all of it is there.
    last = target / sorted(files)[-1].relative_to(path) if path.is_dir() else target
    if not reach.gate.run(Command(("test", "-e", str(last)), timeout=60), check=False).ok:
        progress(
            f"sending {path.name} to {reach.existing.host}: {sum(fact[1] for fact in facts) / 1e6:.0f} MB"
        )
        places = {
            target / file.relative_to(path) if path.is_dir() else target: file for file in sorted(files)
        }
        reach.share.put(places)
    return target


def _there(reach: Reach, path: Path) -> ModelFile:
    script = f'[ -f "$1" ] && [ -r "$1" ] && wc -c <"$1" && head -c {_BEGIN} "$1"'
    done = reach.gate.run(Command(("sh", "-c", script, "look", str(path)), timeout=60), check=False)
    size, _, head = done.stdout.partition("\n")
    if not done.ok or not size.strip().isdigit():
        raise NotFound(
            f"there is no file {path}, neither here nor on {reach.existing.host}",
            todo="Give a GGUF file or a registered model's name.",
        )
    return ModelFile(path.stem, "", path, None, int(size), head.encode())
