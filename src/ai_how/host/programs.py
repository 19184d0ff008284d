"""The catalogue: every program of somebody else's that AI-HOW runs, what it is for and what carries it."""

from __future__ import annotations

from ai_how.errors import NotFound
from ai_how.host.model import Program

_POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
_POSTGRES_PACKAGES = {
    "debian-12": ("postgresql-15",),
    "debian-13": ("postgresql-17",),
    "ubuntu-24.04": ("postgresql-16",),
    "debian": ("postgresql",),
    "fedora": ("postgresql-server",),
    "suse": ("postgresql-server",),
    "arch": ("postgresql",),
}
_MARIADB_SERVER = {
    "debian": ("mariadb-server-core",),
    "fedora": ("mariadb-server",),
    "suse": ("mariadb",),
    "arch": ("mariadb",),
}
_MARIADB_CLIENT = {
    "debian": ("mariadb-client-core",),
    "fedora": ("mariadb",),
    "suse": ("mariadb-client",),
    "arch": ("mariadb-clients",),
}
_MUNGE = dict.fromkeys(("debian", "fedora", "suse", "arch"), ("munge",))


def _slurm(debian: str, fedora: str, suse: str) -> dict[str, tuple[str, ...]]:
    return {"debian": (debian,), "fedora": (fedora,), "suse": (suse,), "arch": ("slurm-llnl",)}


def _slurm_client(name: str, purpose: str) -> Program:
    # Clients (and slurmdbd) print their version only where there is a configuration: the controller's is read.
    packages = _slurm("slurm-client", "slurm", "slurm")
    return Program(name, purpose, packages, version_argv=None, version_of="slurmctld")


_PROGRAMS = (
    Program("munged", "vouches to Slurm for who sends a message", _MUNGE),
    Program("mungekey", "makes the key that munged needs", _MUNGE),
    Program(
        "slurmctld",
        "Slurm's controller",
        _slurm("slurmctld", "slurm-slurmctld", "slurm"),
        also_named=("slurmctld-wlm",),
        version_argv=("-V",),
    ),
    Program(
        "slurmd",
        "Slurm's daemon on each node",
        _slurm("slurmd", "slurm-slurmd", "slurm-node"),
        also_named=("slurmd-wlm",),
        version_argv=("-V",),
    ),
    Program(
        "slurmstepd",
        "runs the steps of a job for slurmd",
        _slurm("slurmd", "slurm-slurmd", "slurm-node"),
        also_named=("slurmstepd-wlm",),
        version_argv=None,
        version_of="slurmd",
    ),
    Program(
        "slurmdbd",
        "keeps Slurm's accounting",
        _slurm("slurmdbd", "slurm-slurmdbd", "slurm-slurmdbd"),
        version_argv=None,
        version_of="slurmctld",
    ),
    _slurm_client("sbatch", "submits batch jobs"),
    _slurm_client("srun", "runs the steps of a job"),
    _slurm_client("salloc", "allocates nodes for a shell"),
    _slurm_client("scancel", "cancels jobs"),
    _slurm_client("squeue", "lists jobs that wait or run"),
    _slurm_client("sinfo", "lists nodes and partitions"),
    _slurm_client("scontrol", "shows and changes Slurm's state"),
    _slurm_client("sacct", "reads the accounting of jobs"),
    _slurm_client("sacctmgr", "manages accounts and QOS"),
    _slurm_client("sreport", "reports the use of the cluster"),
    Program("mariadbd", "the database behind Slurm's accounting", _MARIADB_SERVER, also_named=("mysqld",)),
    Program(
        "mariadb-install-db",
        "makes a new MariaDB database",
        _MARIADB_SERVER,
        version_argv=None,
        version_of="mariadbd",
    ),
    Program("mariadb", "sends statements to MariaDB", _MARIADB_CLIENT),
    Program(
        "postgres", "the database behind the MLflow server", _POSTGRES_PACKAGES, folders=_POSTGRES_FOLDERS
    ),
    Program("initdb", "makes a new PostgreSQL database", _POSTGRES_PACKAGES, folders=_POSTGRES_FOLDERS),
    Program("psql", "sends statements to PostgreSQL", _POSTGRES_PACKAGES, folders=_POSTGRES_FOLDERS),
    Program(
        "libgomp.so.1",
        "the OpenMP library that llama.cpp computes with",
        {"debian": ("libgomp1",), "fedora": ("libgomp",), "suse": ("libgomp1",), "arch": ("gcc-libs",)},
        folders=("/usr/lib/*-linux-gnu", "/lib/*-linux-gnu", "/usr/lib64", "/usr/lib"),
        version_argv=None,
        library=True,
    ),
    Program(
        "fio",
        "loads files and block devices for benchmarks",
        dict.fromkeys(("debian", "fedora", "suse", "arch"), ("fio",)),
    ),
    Program("weed", "SeaweedFS, the object store (S3)", version_argv=("version",), wheel="seaweedfs"),
)

CATALOGUE: dict[str, Program] = {program.name: program for program in _PROGRAMS}


def program(name: str) -> Program:
    """The catalogue's entry; raises :class:`NotFound` for a name that is not in it."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise NotFound(f"no program of the name {name!r} is in the catalogue") from None
