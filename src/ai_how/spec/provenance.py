"""Where values come from: a default, a line of a file, the environment, or a flag. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ai_how.spec.load import Path
from ai_how.spec.model import SiteSpec
from ai_how.spec.parse import SiteFile


class Source(StrEnum):
    """Who said a value."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True)
class Value:
    """A value that knows who said it. ``where`` is a file:line:column, a variable or a flag; empty for a default."""

    path: Path
    value: Any
    source: Source
    where: str = ""

    @property
    def origin(self) -> str:
        return self.where or self.source.value

    def as_json(self) -> dict[str, object]:
        return {
            "path": dotted(self.path),
            "value": self.value,
            "source": self.source,
            "where": self.where or None,
        }


def dotted(path: Path) -> str:
    """``clusters.hpc.slurm_config.partitions[0].name``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def values(file: SiteFile) -> tuple[Value, ...]:
    """Every value of a site, the defaults too, each with its origin."""
    written = {path: f"{file.name}:{at.line}:{at.column}" for path, at in file.positions.items()}
    return values_of(file.spec, written)


def values_of(spec: SiteSpec, written: Mapping[Path, str]) -> tuple[Value, ...]:
    """The same, where ``written`` says the place of each value that is in a file."""
    return tuple(_value(path, value, written) for path, value in leaves(plain(spec)))


def plain(spec: SiteSpec) -> Any:
    """The whole site as plain data, every default in its place."""
    return spec.model_dump(mode="json", by_alias=True)


def leaves(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that somebody says as one, with its path: what holds no mapping."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        for index, item in enumerate(data):
            yield from leaves(item, (*path, index))
    else:
        yield path, data


def _value(path: Path, value: Any, written: Mapping[Path, str]) -> Value:
    # A list's item that is a bare name stands for a mapping with that name.
    short = len(path) > 1 and path[-1] == "name" and isinstance(path[-2], int)
    where = written.get(path) or (written.get(path[:-1]) if short else None)
    return Value(path, value, Source.FILE, where) if where else Value(path, value, Source.DEFAULT)
