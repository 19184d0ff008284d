"""What a Slurm cluster that exists tells of itself to somebody who may use it; read from its answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ai_how.slurm.parse import fields

#: The fields of `sinfo --format` that :func:`kinds` reads, and what stands between them.
SINFO_FORMAT = "%P|%D|%c|%m|%G|%N|%f"
#: The fields of `sacctmgr show associations`.
ASSOCIATION_FIELDS = ("Account", "Partition", "QOS", "DefaultQOS")


@dataclass(frozen=True)
class PartitionFacts:
    """A partition as its users see it. Times are in Slurm's notation; ``accounts`` and ``qos`` are empty for all."""

    name: str
    default: bool
    up: bool
    max_time: str
    default_time: str
    nodes: int
    accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike. ``memory_mb`` in MiB; ``gpus`` counts by type, '' where it has none."""

    partition: str
    count: int
    cpus: int
    memory_mb: int
    gpus: Mapping[str, int]
    names: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Association:
    """What the user may charge, and with which QOS; ``partition`` is empty where that holds for all."""

    account: str
    partition: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""


@dataclass(frozen=True)
class ClusterFacts:
    """A cluster that exists. ``associations`` is None where accounting could not be asked."""

    name: str
    version: str
    user: str
    partitions: tuple[PartitionFacts, ...]
    kinds: tuple[NodeKind, ...]
    associations: tuple[Association, ...] | None

    def partition(self, name: str | None) -> PartitionFacts | None:
        """The partition of that name, the default one without; None where there is none."""
        return next(
            (one for one in self.partitions if (one.name == name if name else one.default)),
            None,
        )


def partitions(text: str) -> Iterator[PartitionFacts]:
    """The partitions in the answer of ``scontrol --oneliner show partition``."""
    for line in text.splitlines():
        if not line.startswith("PartitionName="):
            continue
        facts = fields(line)
        yield PartitionFacts(
            name=facts["PartitionName"],
            default=facts.get("Default") == "YES",
            up=facts.get("State") == "UP",
            max_time=facts.get("MaxTime", ""),
            default_time=facts.get("DefaultTime", ""),
            nodes=int(facts.get("TotalNodes") or 0),
            accounts=_listed(facts.get("AllowAccounts", "ALL")),
            qos=_listed(facts.get("AllowQos", "ALL")),
        )


def kinds(text: str) -> Iterator[NodeKind]:
    """The nodes in the answer of ``sinfo --exact --noheader --format`` with :data:`SINFO_FORMAT`."""
    for line in text.splitlines():
        partition, count, cpus, memory, gres, names, features = line.split("|", 6)
        yield NodeKind(
            partition=partition.rstrip("*"),
            count=int(count),
            cpus=int(cpus.rstrip("+")),
            memory_mb=int(memory.rstrip("+")),
            gpus=gpus(gres),
            names=names,
            features=tuple(word for word in features.split(",") if word and word != "(null)"),
        )


def gpus(gres: str) -> Mapping[str, int]:
    """How many GPUs of each type a GRES names: ``gpu:a100:4(S:0-1),shard:16`` gives four of a100."""
    found: dict[str, int] = {}
    for kind, count in re.findall(r"(?:^|,)gpu(?::([^:,()]*[^\d:,()][^:,()]*))?(?::(\d+))?", gres):
        found[kind] = found.get(kind, 0) + int(count or 1)
    return found


def associations(text: str) -> Iterator[Association]:
    """The answer of ``sacctmgr --parsable2 --noheader show associations`` with :data:`ASSOCIATION_FIELDS`."""
    for line in text.splitlines():
        account, partition, qos, default = line.split("|", 3)
        yield Association(account, partition, tuple(word for word in qos.split(",") if word), default)


def version(text: str) -> str:
    """``slurm 22.05.8`` is 22.05.8."""
    return text.strip().rpartition(" ")[2]


def cluster_name(text: str) -> str:
    """``ClusterName`` in the answer of ``scontrol show config``; empty when it is not told."""
    match = re.search(r"^ClusterName\s*=\s*(\S+)", text, re.MULTILINE)
    return match.group(1) if match else ""


def _listed(text: str) -> tuple[str, ...]:
    return () if text in ("ALL", "(null)", "") else tuple(text.split(","))
