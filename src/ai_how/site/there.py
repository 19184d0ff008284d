"""What a cluster that exists tells of itself against what the file wants of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.slurm.facts import ClusterFacts, NodeKind
from ai_how.spec import SiteFile
from ai_how.spec.message import did_you_mean
from ai_how.spec.provider import ExistingJobs

_JOBS = ("clusters", "hpc", "existing", "jobs")


def doubts(file: SiteFile, found: ClusterFacts, refused: str) -> Iterator[str]:
    """Why jobs as the file has them would not run there, each with its place.

    ``refused`` is what sbatch itself says of such a job; it is told where nothing else explains it.
    """
    existing = file.spec.clusters.hpc.existing
    jobs = existing.jobs if existing else ExistingJobs()
    said = [*_partition(file, found, jobs), *_account(file, found, jobs)]
    yield from said
    if refused and not said:
        yield f"{file.where(*_JOBS)}: Slurm there would take no job as the file has it: {refused}"


def _partition(file: SiteFile, found: ClusterFacts, jobs: ExistingJobs) -> Iterator[str]:
    where = file.where(*_JOBS, "partition")
    for name in (jobs.partition or "").split(",") if jobs.partition else ():
        known = found.partition(name)
        if known is None:
            names = [one.name for one in found.partitions]
            yield f"{where}: there is no partition '{name}' on {_named(found)}. {did_you_mean(name, names)}"
        elif not known.up:
            yield f"{where}: the partition '{name}' is not up: jobs wait until it is"
    if jobs.partition is None and not any(one.default for one in found.partitions):
        yield f"{where}: {_named(found)} has no default partition: name one"


def _account(file: SiteFile, found: ClusterFacts, jobs: ExistingJobs) -> Iterator[str]:
    if not found.associations:
        return  # nobody could tell, or nobody is held to an account
    accounts = list(dict.fromkeys(one.account for one in found.associations))
    if jobs.account is not None and jobs.account not in accounts:
        where = file.where(*_JOBS, "account")
        yield f"{where}: {found.user} may not charge '{jobs.account}'. {did_you_mean(jobs.account, accounts)}"
        return
    allowed = {name for one in found.associations if jobs.account in (None, one.account) for name in one.qos}
    if jobs.qos is not None and allowed and jobs.qos not in allowed:
        where = file.where(*_JOBS, "qos")
        yield f"{where}: {found.user} may not use the QOS '{jobs.qos}'. {did_you_mean(jobs.qos, sorted(allowed))}"


def _named(found: ClusterFacts) -> str:
    return f"the cluster {found.name}" if found.name else "that cluster"


def gres_words(kind: NodeKind, untyped: str | None) -> dict[str, int]:
    """The GPUs of all nodes of a kind, by Slurm's type; by the file's where Slurm tells none."""
    return {name or untyped or "gpu": count * kind.count for name, count in kind.gpus.items()}


def own_words(found: ClusterFacts) -> Iterator[str]:
    """In a line each: what cluster it is, and what the user may charge."""
    yield f"{_named(found)}, Slurm {found.version}, as {found.user}"
    if found.associations is None:
        yield "what you may charge could not be told: its accounting does not answer"
        return
    for one in found.associations:
        partition = f" in {one.partition}" if one.partition else ""
        qos = f", QOS {' '.join(one.qos)}" if one.qos else ""
        yield f"account {one.account}{partition}{qos}"
