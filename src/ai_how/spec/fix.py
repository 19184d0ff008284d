"""Repairs of mistakes in ``cluster.yaml`` that have exactly one right answer. Pure.

A repair renames a misspelt key, sets a value, or takes away the second of two equal things; nothing else of the text is
touched. What could mean two things is left to whoever wrote it. Rooms above hand in further proposals as data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from ai_how.spec.document import Document, Edit, flow
from ai_how.spec.fix_values import mended, one_of, tidied
from ai_how.spec.keys import Key, KeyPath, identity, keys, name_of
from ai_how.spec.load import Path, tuples
from ai_how.spec.message import keys_of
from ai_how.spec.migrate import RENAMED
from ai_how.spec.model import SiteSpec
from ai_how.spec.provenance import dotted

#: One repair can make the next one possible: a misspelt key hides what is in it. The file's depth bounds that.
_ROUNDS = 12
#: Keys that name things which are elsewhere in the file, and the lists that those are in.
REFERENCES: dict[str, str] = {
    "clusters.hpc.slurm_config.default_partition": "clusters.hpc.slurm_config.partitions",
    "clusters.hpc.slurm_config.partitions.groups": "clusters.hpc.compute_nodes",
    "clusters.hpc.slurm_config.partitions.qos": "clusters.hpc.slurm_config.qos",
    "clusters.hpc.slurm_config.qos.preempt": "clusters.hpc.slurm_config.qos",
    "clusters.hpc.slurm_config.accounts.qos": "clusters.hpc.slurm_config.qos",
    "clusters.hpc.slurm_config.accounts.parent": "clusters.hpc.slurm_config.accounts",
    "clusters.cloud.kubernetes_config.storage_class": "clusters.cloud.kubernetes_config.storage_classes",
    "global.gpu_allocation.demands.device": "global.gpu_allocation.devices",
    "global.gpu_allocation.demands.for": "clusters.hpc.compute_nodes",
}
#: Names that are there without being listed, and what stands before those that are.
_ALWAYS: dict[str, tuple[str, ...]] = {
    "clusters.cloud.kubernetes_config.storage_class": ("local-path",),
    "global.gpu_allocation.demands.for": (
        "hpc", "hpc.compute_nodes", "cloud", "cloud.worker_nodes", "cloud.worker_nodes.gpu_workers",
    ),
}  # fmt: skip
_BEFORE = {"global.gpu_allocation.demands.for": "hpc.compute_nodes."}
#: Words of the first draft, for whoever is used to them.
_FORMER = {path[-1]: new for path, new in RENAMED.items()}


@dataclass(frozen=True)
class Fix:
    """``rename`` the key at ``path`` to ``value``, ``set`` the value there, or ``remove`` it.

    ``why`` says what does not go without saying.
    """

    kind: Literal["rename", "set", "remove"]
    path: Path
    value: Any = None
    why: str = ""

    def edit(self, document: Document) -> Edit:
        if self.kind == "rename":
            return document.rename(self.path, self.value)
        return document.replace(self.path, self.value) if self.kind == "set" else document.remove(self.path)


#: Proposals of a room above, from the file's plain data, which may be of any shape.
Proposer = Callable[[Any], Iterable[Fix]]


@dataclass(frozen=True)
class Fixed:
    """The text after all repairs, and each of them in words; whether it is all right now, a parse tells."""

    text: str
    done: tuple[str, ...]


def fix(text: str, name: str = "cluster.yaml", also: Iterable[Proposer] = ()) -> Fixed:
    """Repair what has one right answer. Raises :class:`SpecError` when the text is no YAML: then nothing is known."""
    proposers = tuple(also)
    document, rounds = Document(text, name), []
    for _ in range(_ROUNDS):
        proposals = _chosen(document, proposers)
        if not proposals:
            break
        rounds.append([_told(document, proposals[path]) for path in document.positions if path in proposals])
        # From the innermost and last on, so that the paths of those to come stay what they are.
        for path in sorted(proposals, key=_from_the_end, reverse=True):
            document = document.edited(proposals[path].edit(document))
    return Fixed(document.text if rounds else text, tuple(words for told in rounds for words in told))


def _chosen(document: Document, proposers: Iterable[Proposer]) -> dict[Path, Fix]:
    """What is to be done in one round, by path: no value is set to another one that is wrong as well."""
    found = list(_Finder(document, _wrong(document.data)).mapping(document.data, (), ()))
    for propose in proposers:
        found += propose(document.data)
    own = [proposal for proposal in found if document.is_own(proposal.path)]
    after = copy.deepcopy(document.data)
    for proposal in own:
        if proposal.kind == "set":
            _put(after, proposal.path, proposal.value)
    still = _wrong(after)
    return {one.path: one for one in own if one.kind != "set" or one.path not in still}


def _put(data: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def _wrong(data: Any) -> set[Path]:
    """The paths of values that are wrong by themselves."""
    try:
        SiteSpec.model_validate(tuples(data))
    except ValidationError as error:
        return {keys_of(detail) for detail in error.errors(include_url=False, include_context=False)}
    return set()


def _told(document: Document, proposal: Fix) -> str:
    place = dotted(proposal.path)
    if proposal.kind == "rename":
        return f"{place} is now {proposal.value}"
    if proposal.kind == "remove":
        return f"{place} is gone: {proposal.why}"
    words = f"{place}: {document.source(proposal.path)} is now {flow(proposal.value)}"
    return f"{words}: {proposal.why}" if proposal.why else words


def _from_the_end(path: Path) -> tuple[int, list[tuple[int, str]]]:
    return len(path), [(part, "") if isinstance(part, int) else (0, part) for part in path]


@dataclass(frozen=True)
class _Finder:
    """Finds what can be repaired. ``wrong`` are the paths of values that are wrong by themselves."""

    document: Document
    wrong: set[Path]

    def mapping(self, data: dict[str, Any], key: KeyPath, path: Path) -> Iterator[Fix]:
        known = keys()[key].children if key else tuple(one[0] for one in keys() if len(one) == 1)
        missing = [name for name in known if name not in data]
        meant = {word: _meant(word, missing) for word in data if (*key, word) not in keys()}
        for word, value in data.items():
            if word not in meant:
                yield from self.value(keys()[*key, word], value, (*path, word))
            elif (right := meant[word]) and list(meant.values()).count(right) == 1:
                yield Fix("rename", (*path, word), right)

    def value(self, key: Key, value: Any, path: Path) -> Iterator[Fix]:
        if isinstance(value, dict) and key.children:
            yield from self.mapping(value, key.path, path)
        elif isinstance(value, list) and key.many:
            yield from _twice(value, path)
            for index, item in enumerate(value):
                yield from self.value(key, item, (*path, index))
        elif not isinstance(value, dict | list) and self.document.is_own(path):
            yield from self.single(key, value, path)

    def single(self, key: Key, value: Any, path: Path) -> Iterator[Fix]:
        source = self.document.source(path)
        right = mended(key, value, source) if path in self.wrong else tidied(key, value, source)
        if right is None and key.dotted in REFERENCES and isinstance(value, str):
            names = _names(self.document.data, key.dotted)
            right = one_of(value, names) if value not in names else None
        if right is not None and flow(right) != source:
            yield Fix("set", path, right)


def _meant(word: str, missing: list[str]) -> str | None:
    former = _FORMER.get(word)
    return former if former in missing else one_of(word, missing)


def _twice(items: list[Any], path: Path) -> Iterator[Fix]:
    """What is there a second time, word for word."""
    told_apart = identity(path)
    if told_apart == "model":  # two of one model may be meant as twice as many
        return
    for index, item in enumerate(items):
        if item in items[:index]:
            name = name_of(item, told_apart) if told_apart else item
            yield Fix("remove", (*path, index), why=f"{flow(name)} was there twice")


def _names(data: Any, key: str) -> list[str]:
    """The names of what a key may name."""
    path = tuple(REFERENCES[key].split("."))
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    told_apart = identity(path) or "name"
    found = [name_of(item, told_apart) for item in data] if isinstance(data, list) else []
    listed = [_BEFORE.get(key, "") + name for name in found if isinstance(name, str)]
    return [*_ALWAYS.get(key, ()), *listed]
