"""Which services a site consists of, and the names of the ports they need."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.services import (
    cluster,
    gateway,
    mariadb,
    mlflow,
    munge,
    object_store,
    postgresql,
    reconciler,
    slurm,
    tracker,
)
from ai_how.services.model import Service, Setting
from ai_how.services.nodes import node_names
from ai_how.spec import SiteSpec

#: Programs of a Slurm of the site's own and its clients, by the toolbox's names.
SLURM = (
    "munged", "mungekey", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "slurmctld", "slurmd",
    "slurmstepd", "sbatch", "srun", "salloc", "scancel", "squeue", "sinfo", "scontrol", "sacct", "sacctmgr",
    "sreport",
)  # fmt: skip
POSTGRESQL = ("postgres", "initdb", "psql")
OBJECT_STORE = ("weed",)
#: Programs that a site with everything needs.
PROGRAMS = (*SLURM, *POSTGRESQL, *OBJECT_STORE)
#: Secrets made once for each site.
SECRETS = ("postgresql", "s3-access-key", "s3-secret-key", "gateway-token")


def programs(spec: SiteSpec) -> tuple[str, ...]:
    """What this site's services need, by the toolbox's names. A cluster that exists brings its own Slurm."""
    services = spec.clusters.cloud.services
    return (
        *(SLURM if own_slurm(spec) else ()),
        *(POSTGRESQL if services.postgresql.enabled else ()),
        *(OBJECT_STORE if services.object_store.enabled else ()),
    )


def environments(spec: SiteSpec) -> tuple[str, ...]:
    """Runtime environments that this site's services themselves run in."""
    return ("mlflow",) if spec.clusters.cloud.services.mlflow.enabled else ()


def own_slurm(spec: SiteSpec) -> bool:
    """Whether the site runs Slurm's daemons itself."""
    return spec.clusters.hpc.provider != "existing"


def catalogue(setting: Setting) -> tuple[Service, ...]:
    """Every service of the site, in an order that is good for reading; ``after`` says what waits for what."""
    asked = setting.spec.clusters.cloud.services
    found = [*_slurm(setting)]
    if asked.postgresql.enabled:
        found.append(postgresql.define(setting))
    if asked.object_store.enabled:
        found.append(object_store.define(setting))
    if asked.mlflow.enabled:
        found.append(mlflow.define(setting))
    return (*found, gateway.define(setting), tracker.define(setting), reconciler.define(setting))


def _slurm(setting: Setting) -> Iterator[Service]:
    if not own_slurm(setting.spec):
        yield cluster.define(setting)
        return
    yield munge.define(setting)
    yield mariadb.define(setting)
    yield slurm.define_slurmdbd(setting)
    yield slurm.define_slurmctld(setting)
    yield from slurm.define_slurmd(setting)


def port_names(spec: SiteSpec) -> Iterator[tuple[str, int | None]]:
    """Every port the site needs, with the number that the file asks for."""
    services = spec.clusters.cloud.services
    yield "gateway", services.gateway.port
    if services.mlflow.enabled:
        yield "mlflow", services.mlflow.port
    if services.postgresql.enabled:
        yield "postgresql", services.postgresql.port
    for flag in object_store.LISTENERS if services.object_store.enabled else ():
        yield object_store.port_name(flag), services.object_store.port if flag == "s3.port" else None
    if own_slurm(spec):
        yield "slurmctld", None
        yield "slurmdbd", None
        for node in node_names(spec):
            yield f"slurmd-{node}", None
