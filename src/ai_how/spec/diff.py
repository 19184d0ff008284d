"""Two sites compared by what they mean: what was added, removed, changed, renamed and moved. Pure.

A default that is written out is no difference, nor is the order of things that have names, except where order means
something. Items of lists are told apart by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ai_how.spec.document import flow
from ai_how.spec.keys import identity, key_path, keys, named
from ai_how.spec.load import Path
from ai_how.spec.model import SiteSpec
from ai_how.spec.parse import SiteFile
from ai_how.spec.provenance import plain

#: Lists of named things whose order counts: the first partition is the default one, nodes and GPUs are dealt out from
#: the first on, and Slurm's database is told its accounts and QOS in the file's order.
ORDERED = frozenset(
    {
        "clusters.hpc.compute_nodes",
        "clusters.hpc.compute_nodes.devices",
        "clusters.hpc.slurm_config.partitions",
        "clusters.hpc.slurm_config.qos",
        "clusters.hpc.slurm_config.accounts",
        "global.gpu_allocation.devices",
        "global.gpu_allocation.demands",
    }
)
#: Lists of bare values whose order counts, by their last key: the first name server is asked first.
SEQUENCES = frozenset({"dns", "users", "qos", "preempt"})
#: What a group of compute nodes without a name is called: its nodes are node01 and so on.
UNNAMED = "node"
_GROUPS = ("clusters", "hpc", "compute_nodes")


class Kind(StrEnum):
    """What happened to a value."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"
    MOVED = "moved"


@dataclass(frozen=True)
class Change:
    """One difference. ``path`` has names where lists have numbers; for what was renamed or moved it is the new one,
    and ``former`` the old."""

    kind: Kind
    path: tuple[str, ...]
    old: Any = None
    new: Any = None
    former: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The values, as they would stand in the file."""
        match self.kind:
            case Kind.ADDED:
                return flow(self.new)
            case Kind.REMOVED:
                return flow(self.old)
            case Kind.RENAMED | Kind.MOVED if self.former:
                return f"was {'.'.join(self.former)}"
            case _:
                return f"{_shown(self.old)} -> {_shown(self.new)}"

    def as_json(self) -> dict[str, object]:
        return {
            "kind": self.kind, "path": ".".join(self.path), "old": self.old, "new": self.new,
            "former": ".".join(self.former) or None,
        }  # fmt: skip


def diff(old: SiteSpec, new: SiteSpec) -> tuple[Change, ...]:
    """Every difference, in the order of the file's keys."""
    changes = _diff(_by_name(plain(old), ()), _by_name(plain(new), ()), ())
    if not any(group.name for spec in (old, new) for group in spec.clusters.hpc.groups):
        changes = (_without_group(change) for change in changes)
    return tuple(_with_moves(list(changes)))


def where(change: Change, old: SiteFile, new: SiteFile) -> str:
    """``file:line:column`` of what changed: in the new file, or for what has gone in the old one."""
    file = old if change.kind is Kind.REMOVED else new
    data = plain(file.spec)
    places = {named(data, path): path for path in file.positions if _is_in(data, path)}
    path: Path = change.path
    while path not in places:
        path = path[:-1]
    return file.where(*places[path])


def _is_in(data: Any, path: Path) -> bool:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _without_group(change: Change) -> Change:
    """The one group of nodes has no name in the file, so none is shown."""
    size = len(_GROUPS)
    if change.path[:size] != _GROUPS or len(change.path) == size:
        return change
    former = change.former[:size] + change.former[size + 1 :]
    return replace(change, path=change.path[:size] + change.path[size + 1 :], former=former)


def _shown(value: Any) -> str:
    return "nothing" if value is None else flow(value)


def _by_name(data: Any, path: tuple[str, ...]) -> Any:
    """Lists of named things as mappings from their names."""
    if path == _GROUPS and isinstance(data, dict):
        data = [data]
    if isinstance(data, dict):
        return {key: _by_name(value, (*path, key)) for key, value in data.items()}
    key = identity(path) if isinstance(data, list) else None
    if key is None:
        return data
    found = {}
    for item in data:
        rest = {inner: _by_name(value, (*path, inner)) for inner, value in item.items() if inner != key}
        found[item[key] or UNNAMED] = rest
    return found


def _diff(old: Any, new: Any, path: tuple[str, ...]) -> Iterator[Change]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        if _comparable(old, path) != _comparable(new, path):
            yield _single(old, new, path)
        return
    pairs = dict(_renamed(old, new)) if identity(key_path(path)) else {}
    for key in dict.fromkeys((*old, *new)):
        if key in pairs.values():
            continue
        if key in pairs:
            yield Change(Kind.RENAMED, (*path, pairs[key]), former=(*path, key))
        elif key not in new:
            yield Change(Kind.REMOVED, (*path, key), old=_telling(old[key], (*path, key)))
        elif key not in old:
            yield Change(Kind.ADDED, (*path, key), new=_telling(new[key], (*path, key)))
        else:
            yield from _diff(old[key], new[key], (*path, key))
    if ".".join(key_path(path)) in ORDERED:
        yield from _reordered(list(old), list(new), path)


def _single(old: Any, new: Any, path: tuple[str, ...]) -> Change:
    if old is None:
        return Change(Kind.ADDED, path, new=_telling(new, path))
    if new is None:
        return Change(Kind.REMOVED, path, old=_telling(old, path))
    return Change(Kind.CHANGED, path, old, new)


def _comparable(value: Any, path: tuple[str, ...]) -> Any:
    return sorted(value, key=str) if isinstance(value, list) and path[-1] not in SEQUENCES else value


def _renamed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What has gone and what has come with the same content, pair by pair."""
    come = [name for name in new if name not in old]
    for name in old:
        if name in new:
            continue
        same = next((other for other in come if new[other] == old[name]), None)
        if same is not None:
            come.remove(same)
            yield name, same


def _reordered(old: list[str], new: list[str], path: tuple[str, ...]) -> Iterator[Change]:
    before = [name for name in old if name in new]
    after = [name for name in new if name in old]
    if before != after:
        yield Change(Kind.MOVED, path, before, after)


def _with_moves(changes: list[Change]) -> Iterator[Change]:
    """What has gone here and come there with the same content was moved."""
    gone = [change for change in changes if change.kind is Kind.REMOVED and _is_some(change.old)]
    for change in changes:
        if change in gone:
            if not any(_is_move(change, other) for other in changes):
                yield change
            continue
        origin = next((one for one in gone if _is_move(one, change)), None)
        yield change if origin is None else Change(Kind.MOVED, change.path, former=origin.path)


def _is_some(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > 1


def _is_move(gone: Change, come: Change) -> bool:
    return come.kind is Kind.ADDED and _is_some(gone.old) and gone.old == come.new and gone.path != come.path


def _telling(value: Any, path: tuple[str, ...]) -> Any:
    """A value without what is as it would be anyway."""
    if not isinstance(value, dict):
        return value
    known = key_path(path)
    kept = {}
    for key, inner in value.items():
        told = _telling(inner, (*path, key))
        described = keys().get((*known, key))
        if told in (None, {}, []) or (described and described.default == told):
            continue
        kept[key] = told
    return kept
