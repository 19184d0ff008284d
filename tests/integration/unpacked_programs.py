"""Run by an ordinary user: unpacks every Debian package of the catalogue and makes the programs work.

Prints one JSON object. The first argument is an empty folder of that user's.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from ai_how.host import search
from ai_how.host.distribution import this_distribution
from ai_how.host.programs import CATALOGUE
from ai_how.host.unpack import STATUS, unpack
from ai_how.host.versions import Versions
from ai_how.run import Command, LocalGate


def without_packages(status: str, names: set[str]) -> str:
    """dpkg's status as it would be if the machine had none of the packages ``names``."""
    kept = []
    for stanza in status.split("\n\n"):
        name = re.match(r"Package: (\S+)", stanza)
        if name and not name.group(1).startswith(tuple(names)):
            kept.append(stanza)
    return "\n\n".join(kept) + "\n\n"


def main(folder: Path) -> None:
    gate = LocalGate()
    distribution = this_distribution()
    # Too much of this machine depends on its libraries for apt to believe that it has none of them.
    programs = [program for program in CATALOGUE.values() if not program.wheel and not program.library]
    packages = {name for program in programs for name in program.packages_for(distribution)}
    families = {
        "munge",
        "libmunge",
        "slurm",
        "libslurm",
        "mariadb",
        "mysql-common",
        "libmariadb",
        "postgresql",
        "fio",
    }
    status = folder / "status"
    status.write_text(without_packages(STATUS.read_text(encoding="utf-8"), families), encoding="utf-8")
    said: list[str] = []
    prefix = unpack(gate, sorted(packages), folder / distribution.release, said.append, status=status)

    env = {"LD_LIBRARY_PATH": search.library_path(prefix, {})}
    paths = {program.name: search.unpacked(program, prefix) for program in programs}
    versions = Versions(gate, folder / "versions.json")
    printed = {
        program.name: versions.of(program, path, env)
        for program in programs
        if (path := paths[program.name]) is not None and program.version_argv is not None
    }
    usr = prefix / "usr"
    mariadb = ("--no-defaults", f"--basedir={usr}", f"--datadir={folder}/mariadb", "--skip-test-db")
    gate.run(Command((str(paths["mariadb-install-db"]), *mariadb), env=env))
    postgres = ("--pgdata", f"{folder}/postgres", "--auth=scram-sha-256", "--pwfile=/dev/stdin")
    gate.run(Command((str(paths["initdb"]), *postgres), env=env, stdin="secret\n"))
    gate.run(Command((str(paths["mungekey"]), "--create", f"--keyfile={folder}/munge.key"), env=env))
    facts = {
        "user": os.geteuid(),
        "prefix": str(prefix),
        "missing": [name for name, path in paths.items() if path is None],
        "versions": printed,
        "plugins": [str(path) for path in prefix.glob("usr/lib/*/slurm-wlm/auth_munge.so")],
        "made": [
            name for name in ("mariadb/mysql", "postgres/PG_VERSION", "munge.key") if (folder / name).exists()
        ],
        "said": said,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
