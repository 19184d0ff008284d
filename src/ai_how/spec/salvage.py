"""What can still be checked of a file with mistakes in it: the rest of it. Pure."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import ValidationError

from ai_how.spec.load import Path, tuples
from ai_how.spec.message import keys_of
from ai_how.spec.model import SiteSpec

_SIZES = {"count": 1, "cpu_cores": 1, "memory_gb": 1}
#: What stands in for a required key that is missing or wrong. Nothing that is read from it is ever told.
_STAND_INS: dict[Path, Any] = {
    ("version",): "1.0",
    ("metadata",): {"name": "x"},
    ("metadata", "name"): "x",
    ("clusters",): {"hpc": {"compute_nodes": _SIZES}},
    ("clusters", "hpc"): {"compute_nodes": _SIZES},
    ("clusters", "hpc", "compute_nodes"): _SIZES,
    **{("clusters", "hpc", "compute_nodes", key): size for key, size in _SIZES.items()},
    **{("clusters", "hpc", "compute_nodes", "*", key): size for key, size in _SIZES.items()},
    **{("clusters", "cloud", "worker_nodes", "*", key): size for key, size in _SIZES.items()},
}
_WORKERS = ("cpu_workers", "gpu_workers")
#: Taking a wrong value away can leave what is around it incomplete; that goes next. Nothing is nested deeper.
_ROUNDS = 10


def salvage(data: Any, error: ValidationError) -> tuple[SiteSpec | None, list[Path]]:
    """The site without its wrong parts, and the paths of what was taken away or put in instead.

    None when too little is left. ``data`` is not changed.
    """
    rest, touched = copy.deepcopy(data), list[Path]()
    for _ in range(_ROUNDS):
        places = {_part(keys_of(detail), detail["type"]) for detail in error.errors(include_url=False)}
        # From the end, so that the entries of a list keep their numbers until their turn has come.
        for path in sorted(places, key=_order, reverse=True):
            if not path:
                return None, touched
            _take_away(rest, path)
            touched.append(path)
        try:
            return SiteSpec.model_validate(tuples(rest)), touched
        except ValidationError as next_error:
            error = next_error
    return None, touched


def _part(path: Path, kind: str) -> Path:
    """What is to go: the wrong value; or, for a missing key that nothing can stand in for, what it is missing in."""
    return path[:-1] if kind == "missing" and _stand_in(path) is None else path


def _stand_in(path: Path) -> Any:
    general = tuple("*" if isinstance(part, int) or part in _WORKERS else part for part in path)
    return copy.deepcopy(_STAND_INS.get(general))


def _take_away(data: Any, path: Path) -> None:
    *above, last = path
    holder = data
    for part in above:
        try:
            holder = holder[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(holder, dict):
        holder.pop(last, None)
        if (instead := _stand_in(path)) is not None:
            holder[last] = instead
    elif isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        del holder[last]
    elif above:
        # A word that stands for a mapping, such as the name of a partition.
        _take_away(data, tuple(above))


def _order(path: Path) -> list[str]:
    return [f"{part:>9}" for part in path]
