"""The catalogue is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.errors import NotFound
from ai_how.host.model import Distribution, Program
from ai_how.host.programs import CATALOGUE, program
from ai_how.host.versions import parse_version

NEEDED = {
    *(
        "munged",
        "mungekey",
        "mariadbd",
        "mariadb-install-db",
        "mariadb",
        "postgres",
        "initdb",
        "psql",
        "weed",
    ),
    *(
        "slurmctld",
        "slurmd",
        "slurmdbd",
        "slurmstepd",
        "sbatch",
        "srun",
        "salloc",
        "scancel",
        "squeue",
        "sinfo",
    ),
    *("scontrol", "sacct", "sacctmgr", "sreport"),
}
SUPPORTED = (
    Distribution("debian", "12", ""),
    Distribution("debian", "13", ""),
    Distribution("ubuntu", "24.04", "", like=("debian",)),
    Distribution("fedora", "41", ""),
    Distribution("opensuse-leap", "15.6", "", like=("suse",)),
    Distribution("arch", "", ""),
)


def test_every_program_that_is_needed_is_in_it() -> None:
    assert set(CATALOGUE) >= NEEDED


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_program_can_be_had_and_explained(entry: Program) -> None:
    assert entry.purpose and not entry.purpose.endswith(".")
    for distribution in SUPPORTED:
        assert entry.wheel or entry.packages_for(distribution), distribution.release
    # A library says nothing of its version; every other program does, or shares that of another.
    assert entry.library or (entry.version_argv is None) == (entry.version_of is not None)
    if entry.version_of is not None:
        assert CATALOGUE[entry.version_of].version_argv is not None


def test_an_unknown_name_is_said_to_be_unknown() -> None:
    with pytest.raises(NotFound, match="'slurmctl'"):
        program("slurmctl")


def test_the_reference_page_names_every_program() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/programs.md").read_text(encoding="utf-8")
    debian = SUPPORTED[0]
    for entry in CATALOGUE.values():
        carrier = ", ".join(entry.packages_for(debian)) or f"a wheel ({entry.wheel})"
        assert f"| `{entry.name}` | {entry.purpose} | {carrier} |" in page


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("munge-0.5.15 (2022-06-22)", "0.5.15"),
        ("slurm-wlm 22.05.8", "22.05.8"),
        ("mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", "10.11.19"),
        ("mariadb  Ver 15.1 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "10.11.19"),
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", "15.20"),
        ("version 8000GB 4.48 0123abc linux amd64", "4.48"),
        ("command not found", None),
    ],
)
def test_versions_are_read_from_what_programs_really_print(text: str, version: str | None) -> None:
    assert parse_version(text) == version
