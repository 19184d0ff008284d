"""QOS, accounts and preemption of the Slurm side. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ai_how.spec.check import Found
from ai_how.spec.load import Path
from ai_how.spec.message import did_you_mean
from ai_how.spec.model import SiteSpec

_SLURM: Path = ("clusters", "hpc", "slurm_config")
#: What becomes of jobs that need no grace, by the mode.
_NO_END = {"suspend": "are suspended", "off": "never make room"}


def qos(spec: SiteSpec) -> Iterator[Found]:
    """Every QOS that is named exists, once, and none preempts its way back to itself."""
    names = [one.name for one in spec.clusters.hpc.slurm_config.qos]
    yield from _twice(names, (*_SLURM, "qos"), "QOS")
    unknown = list(_unknown(spec))
    told: set[str] = set()
    for path, name in unknown:
        if name not in told:
            yield path, f"there is no QOS '{name}'", did_you_mean(name, names)
        told.add(name)
    if not unknown:
        yield from _preempting(spec)


def _unknown(spec: SiteSpec) -> Iterator[tuple[Path, str]]:
    """Every place that names a QOS that is not there."""
    slurm = spec.clusters.hpc.slurm_config
    places: list[tuple[Path, str]] = [
        ((*_SLURM, "partitions", index, "qos"), partition.qos)
        for index, partition in enumerate(slurm.partitions)
        if partition.qos is not None
    ]
    for key, named in (
        ("qos", [one.preempt for one in slurm.qos]),
        ("accounts", [account.qos for account in slurm.accounts]),
    ):
        inner = "preempt" if key == "qos" else "qos"
        places += [
            ((*_SLURM, key, index, inner, number), name)
            for index, names in enumerate(named)
            for number, name in enumerate(names)
        ]
    known = {one.name for one in slurm.qos}
    yield from ((path, name) for path, name in places if name not in known)


def _preempting(spec: SiteSpec) -> Iterator[Found]:
    slurm = spec.clusters.hpc.slurm_config
    above = {one.name: tuple(one.preempt) for one in slurm.qos}
    ring = _ring(above)
    if ring:
        index = next(index for index, one in enumerate(slurm.qos) if one.name == ring[0])
        way = " preempts ".join(f"'{name}'" for name in (*ring, ring[0]))
        yield (
            (*_SLURM, "qos", index, "preempt"),
            f"QOS {way}",
            "Jobs would make room for each other for ever: leave one of these out.",
        )


def accounts(spec: SiteSpec) -> Iterator[Found]:
    """Accounts differ, their parents exist, and none is its own ancestor."""
    found = spec.clusters.hpc.slurm_config.accounts
    names = [account.name for account in found]
    path = (*_SLURM, "accounts")
    yield from _twice(names, path, "account")
    unknown = False
    for index, account in enumerate(found):
        if account.name == "root":
            yield (*path, index, "name"), "the account 'root' is Slurm's own", "Choose another name."
        if account.parent is not None and account.parent not in (*names, "root"):
            unknown = True
            todo = did_you_mean(account.parent, names)
            yield (*path, index, "parent"), f"there is no account '{account.parent}'", todo
    above = {account.name: (account.parent,) for account in found if account.parent not in (None, "root")}
    ring = () if unknown else _ring({name: tuple(map(str, parents)) for name, parents in above.items()})
    if ring:
        way = " is under ".join(f"'{name}'" for name in (*ring, ring[0]))
        yield (
            (*path, names.index(ring[0]), "parent"),
            f"account {way}",
            "Leave out the parent of the one that is on top.",
        )


def accounting(spec: SiteSpec) -> Iterator[Found]:
    """Accounts and QOS need accounting, which keeps them."""
    slurm = spec.clusters.hpc.slurm_config
    if not slurm.accounting.enabled and (slurm.qos or slurm.accounts):
        what = " and ".join(
            word for word, there in (("QOS", slurm.qos), ("accounts", slurm.accounts)) if there
        )
        yield (
            (*_SLURM, "accounting", "enabled"),
            f"{what} are kept by Slurm's accounting, which is not enabled",
            "Write `enabled: true`.",
        )


def preemption(spec: SiteSpec) -> Iterator[Found]:
    """Preemption by QOS needs a QOS that preempts another, by partition a partition of higher priority."""
    slurm = spec.clusters.hpc.slurm_config
    kind = slurm.preemption.type
    if any(True for _ in _unknown(spec)):
        return
    path = (*_SLURM, "preemption", "type")
    if kind == "qos" and not any(one.preempt for one in slurm.qos):
        yield path, "preemption is by QOS, and no QOS preempts another", "Give a QOS a list `preempt`."
    if kind == "partition" and len({partition.priority or 1 for partition in slurm.partitions}) == 1:
        yield (
            path,
            "preemption is by partition, and every partition has the same priority",
            "Give the one that goes first a higher `priority`.",
        )
    yield from _grace(spec)
    if kind != "qos":
        for index, one in enumerate(slurm.qos):
            if one.preempt:
                yield (
                    (*_SLURM, "qos", index, "preempt"),
                    f"QOS '{one.name}' preempts others, and preemption is not by QOS",
                    "Write `preemption: {type: qos}`.",
                )
                return


def _grace(spec: SiteSpec) -> Iterator[Found]:
    """Slurm reads a partition's mode and grace time where partitions preempt, a QOS' grace time where QOS do."""
    slurm = spec.clusters.hpc.slurm_config
    for key, word, name in (
        ("partitions", "partition", "preempt_mode"),
        ("partitions", "partition", "grace_time"),
        ("qos", "QOS", "grace_time"),
    ):
        kind = word.lower()
        for index, one in enumerate(getattr(slurm, key)):
            if getattr(one, name) is None:
                continue
            path = (*_SLURM, key, index, name)
            if slurm.preemption.type != kind:
                yield (
                    path,
                    f"{word} '{one.name}' has a {name}, and preemption is not by {word}",
                    f"Write `preemption: {{type: {kind}}}`, or remove it.",
                )
                return
            mode = getattr(one, "preempt_mode", None) or slurm.preemption.mode
            if name == "grace_time" and mode in _NO_END:
                yield (
                    path,
                    f"{word} '{one.name}' has a grace_time, and its jobs {_NO_END[mode]}",
                    "Grace is for jobs that end: write another mode, or remove it.",
                )
                return


def _twice(names: Sequence[str], path: Path, what: str) -> Iterator[Found]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield (*path, index, "name"), f"{what} '{name}' is listed twice", "Keep one, or rename one."


def _ring(above: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """A way that leads back to where it began; empty when there is none."""
    left = dict(above)
    # What leads nowhere is in no ring; without it, something else may lead nowhere.
    while ends := [name for name, others in left.items() if not any(other in left for other in others)]:
        for name in ends:
            del left[name]
    way: list[str] = []
    here = next(iter(left), None)
    while here is not None and here not in way:
        way.append(here)
        here = next(other for other in left[here] if other in left)
    return tuple(way[way.index(here) :]) if here is not None else ()
