"""Which services a site consists of, and the names of the ports they need."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.services import (
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

#: Programs that the services and their clients need, by the toolbox's names.
PROGRAMS = (
    "munged", "mungekey", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "slurmctld", "slurmd",
    "slurmstepd", "sbatch", "srun", "salloc", "scancel", "squeue", "sinfo", "scontrol", "sacct", "sacctmgr",
    "sreport", "postgres", "initdb", "psql", "weed",
)  # fmt: skip
#: Runtime environments that the services themselves run in.
ENVIRONMENTS = ("mlflow",)
#: Secrets made once for each site.
SECRETS = ("postgresql", "s3-access-key", "s3-secret-key", "gateway-token")


def catalogue(setting: Setting) -> tuple[Service, ...]:
    """Every service of the site, in an order that is good for reading; ``after`` says what waits for what."""
    return (
        munge.define(setting),
        mariadb.define(setting),
        slurm.define_slurmdbd(setting),
        slurm.define_slurmctld(setting),
        *slurm.define_slurmd(setting),
        postgresql.define(setting),
        object_store.define(setting),
        mlflow.define(setting),
        gateway.define(setting),
        tracker.define(setting),
        reconciler.define(setting),
    )


def port_names(spec: SiteSpec) -> Iterator[tuple[str, int | None]]:
    """Every port the site needs, with the number that the file asks for."""
    services = spec.clusters.cloud.services
    yield "gateway", services.gateway.port
    yield "mlflow", services.mlflow.port
    yield "postgresql", services.postgresql.port
    for flag in object_store.LISTENERS:
        yield object_store.port_name(flag), services.object_store.port if flag == "s3.port" else None
    yield "slurmctld", None
    yield "slurmdbd", None
    for node in node_names(spec):
        yield f"slurmd-{node}", None
