"""Debian packages in the user's own folder, for people who are not root. Nothing on the machine changes.

apt-get works for anybody who gives it folders of their own: it reads which packages the machine has, works out
what else is needed and downloads that; ``dpkg -x`` unpacks it. What is unpacked runs with LD_LIBRARY_PATH.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ai_how.errors import CommandFailed
from ai_how.host.apt import SAYING_SO
from ai_how.host.model import Progress
from ai_how.run import Command, Gate

STATUS = Path("/var/lib/dpkg/status")
_DAY = 86400.0
_SUFFIX = "-wlm"  # Debian's alternatives system, which does not run here, would take it off Slurm's daemons
# Just-in-time compilation for PostgreSQL: 100 MB that `jit = off` makes needless.
_LEFT_OUT = ("libllvm",)


def unpack(
    gate: Gate, packages: Sequence[str], folder: Path, progress: Progress, *, status: Path = STATUS
) -> Path:
    """Unpack ``packages``, and what they need and this machine lacks, into a folder of their own in ``folder``.

    Returns that folder, which stands for ``/``. It appears whole or not at all. ``status`` is dpkg's file of what
    the machine has. Raises :class:`CommandFailed`.
    """
    name = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    prefix = folder / name
    aside = folder / f".{name}.new"
    apt = folder / ".apt"
    for leftover in (aside, apt / "cache"):
        shutil.rmtree(leftover, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "log"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    _download(gate, packages, apt_of_ones_own(apt, status), apt, progress)
    progress(f"unpacking into {prefix}")
    aside.mkdir()
    for archive in sorted((apt / "cache/archives").glob("*.deb")):
        if not archive.name.startswith(_LEFT_OUT):
            gate.run(Command(("dpkg", "-x", str(archive), str(aside)), timeout=600.0))
    name_without_suffix(aside)
    shutil.rmtree(prefix, ignore_errors=True)
    aside.rename(prefix)
    shutil.rmtree(apt / "cache", ignore_errors=True)
    return prefix


def name_without_suffix(prefix: Path) -> None:
    """Give ``slurmctld-wlm`` and its like the names that everybody calls them by."""
    for folder in ("usr/bin", "usr/sbin"):
        for program in sorted((prefix / folder).glob(f"*{_SUFFIX}")):
            plain = program.with_name(program.name.removesuffix(_SUFFIX))
            if not plain.exists():
                plain.symlink_to(program.name)


def apt_of_ones_own(apt: Path, status: Path = STATUS) -> tuple[str, ...]:
    """apt-get with its state in ``apt``; it still knows which packages the machine has."""
    options = {
        "Dir::State": str(apt),
        "Dir::State::Lists": str(apt / "lists"),
        "Dir::State::status": str(status),
        "Dir::Cache": str(apt / "cache"),
        "Dir::Log": str(apt / "log"),
        "Debug::NoLocking": "1",
        "Acquire::Languages": "none",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return ("apt-get", "-q", *words)


def _download(
    gate: Gate, packages: Sequence[str], own: tuple[str, ...], apt: Path, progress: Progress
) -> None:
    argv = (*own, "-y", "--download-only", "install", "--no-install-recommends", *packages)
    command = Command(argv, env={"LC_ALL": "C.UTF-8"}, timeout=3600.0)
    if _lists_are_fresh(apt):
        progress(f"downloading Debian packages: {' '.join(packages)}")
        if gate.run(command, check=False).ok:
            return
    progress("reading the package lists")
    update = Command((*own, *SAYING_SO, "update"), env={"LC_ALL": "C.UTF-8"}, timeout=600.0)
    updated = gate.run(update, check=False)
    progress(f"downloading Debian packages: {' '.join(packages)}")
    try:
        gate.run(command)
    except CommandFailed as error:
        if not updated.ok:
            raise CommandFailed(error.message, where=error.where, detail=updated.tail()) from error
        raise


def _lists_are_fresh(apt: Path) -> bool:
    lists = list((apt / "lists").glob("*_Packages*"))
    return bool(lists) and time.time() - max(file.stat().st_mtime for file in lists) < _DAY
