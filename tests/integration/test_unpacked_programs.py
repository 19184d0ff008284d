"""The way of an ordinary user: every program from Debian packages in a folder of their own, made to work."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_how.host.distribution import this_distribution
from ai_how.host.programs import CATALOGUE
from ai_how.run import Command, LocalGate

SCRIPT = Path(__file__).with_name("unpacked_programs.py")
NOBODY = "nobody"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of an ordinary user's: of ours, or of nobody's when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="ai-how-unpack-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam(NOBODY)
        os.chown(path, account.pw_uid, account.pw_gid)
    yield path
    shutil.rmtree(path)


def as_ordinary_user(*argv: str) -> Command:
    env = {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    return Command(argv, env=env, user=NOBODY if os.geteuid() == 0 else None, cwd=Path("/"), timeout=280.0)


@pytest.mark.needs_network
def test_an_ordinary_user_gets_every_program(folder: Path) -> None:
    if this_distribution().family != "debian":
        pytest.skip("unpacking needs apt-get and dpkg, which this distribution does not have")
    gate = LocalGate()
    if not gate.run(as_ordinary_user("test", "-r", str(SCRIPT)), check=False).ok:
        pytest.skip(f"an ordinary user cannot read {SCRIPT.parent}, and the tests run as root")
    done = gate.run(as_ordinary_user(sys.executable, "-I", str(SCRIPT), str(folder)))
    facts = json.loads(done.stdout)

    assert facts["user"] != 0
    assert facts["missing"] == []
    asked = {program.name for program in CATALOGUE.values() if program.version_argv and not program.wheel}
    assert set(facts["versions"]) == asked and all(facts["versions"].values())
    assert len(facts["plugins"]) == 1 and facts["plugins"][0].startswith(facts["prefix"])
    assert facts["made"] == ["mariadb/mysql", "postgres/PG_VERSION", "munge.key"]
    assert facts["said"][-1] == f"unpacking into {facts['prefix']}"
