"""Installing Debian packages as root, without a daemon of theirs ever starting on the user's machine.

Debian starts what it installs and enables it for the next boot. AI-HOW runs its own daemons, each for its own
site, so while packages are installed a policy says no to starts, PostgreSQL is told to make no database of its
own, and units that came with the packages are disabled afterwards. Both files go away again; the policy is void
by itself once the process that wrote it has ended, in case that process is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ai_how.errors import CommandFailed
from ai_how.host.model import Progress
from ai_how.run import Command, Completed, Gate

_QUIET = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "NEEDRESTART_SUSPEND": "1",
    "LC_ALL": "C.UTF-8",
}
_UNIT_FOLDERS = ("lib/systemd/system", "usr/lib/systemd/system")
_POLICY = """#!/bin/sh
# Written by ai-how while it installs packages: none of their daemons is started.
# Void when process {pid} has ended; ai-how then takes it away at its next installation.
if kill -0 {pid} 2>/dev/null; then exit 101; fi
{otherwise}
"""
#: By default `apt-get update` that reaches no source ends well, with a warning.
SAYING_SO = ("-o", "APT::Update::Error-Mode=any")
_MARK = "# Written by ai-how while it installs packages"
_NO_CLUSTER = f"{_MARK}.\ncreate_main_cluster = false\n"


def install(gate: Gate, packages: Sequence[str], progress: Progress, *, root: Path = Path("/")) -> None:
    """Install ``packages`` with apt-get; raises :class:`CommandFailed` when that does not work.

    ``root`` is where the policy files and the units are, for tests.
    """
    with no_daemons(root):
        before = _daemons(root)
        if not any((root / "var/lib/apt/lists").glob("*_Packages*")):
            _update(gate, progress)
        progress(f"installing with apt-get: {' '.join(packages)}")
        try:
            gate.run(_install_command(packages))
        except CommandFailed:
            updated = _update(gate, progress)  # the lists may be older than what the mirror still has
            try:
                gate.run(_install_command(packages))
            except CommandFailed as error:
                if updated.ok:
                    raise
                raise CommandFailed(error.message, where=error.where, detail=updated.tail()) from error
        for name in sorted(_daemons(root) - before):
            _disable(gate, name, root)


@contextmanager
def no_daemons(root: Path) -> Iterator[None]:
    """While this holds, no package starts a daemon or makes a database; before and after are the same."""
    policy = root / "usr/sbin/policy-rc.d"
    kept = policy.with_name("policy-rc.d.before-ai-how")
    cluster = root / "etc/postgresql-common/createcluster.d/ai-how.conf"
    _restore(policy, kept)
    made = [folder for folder in (cluster.parent, cluster.parent.parent) if not folder.exists()]
    try:
        otherwise = "exit 104"
        if policy.exists():
            policy.rename(kept)
            otherwise = f'exec "{kept}" "$@"'
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text(_POLICY.format(pid=os.getpid(), otherwise=otherwise), encoding="utf-8")
        policy.chmod(0o755)
        cluster.parent.mkdir(parents=True, exist_ok=True)
        cluster.write_text(_NO_CLUSTER, encoding="utf-8")
        yield
    finally:
        cluster.unlink(missing_ok=True)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        _restore(policy, kept)


def _restore(policy: Path, kept: Path) -> None:
    if policy.is_file() and _MARK in policy.read_text(encoding="utf-8", errors="replace"):
        policy.unlink()
    if kept.exists() and not policy.exists():
        kept.rename(policy)


def _update(gate: Gate, progress: Progress) -> Completed:
    progress("reading the package lists (apt-get update)")
    # One source of many that does not answer is no reason to stop: the installation shows what is missing.
    return gate.run(Command(("apt-get", "-q", *SAYING_SO, "update"), env=_QUIET, timeout=600.0), check=False)


def _install_command(packages: Sequence[str]) -> Command:
    options = ("-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold")
    argv = ("apt-get", "-q", "-y", *options, "install", "--no-install-recommends", *packages)
    return Command(argv, env=_QUIET, timeout=3600.0)


def _daemons(root: Path) -> set[str]:
    """The names of the daemons that this machine knows how to start at boot."""
    units = {
        unit.stem
        for folder in _UNIT_FOLDERS
        for unit in (root / folder).glob("*.service")
        if not unit.stem.endswith("@")
    }
    scripts = {script.name for script in (root / "etc/init.d").glob("*") if script.is_file()}
    return units | scripts


def _disable(gate: Gate, name: str, root: Path) -> None:
    if (root / "usr/bin/systemctl").exists():
        command = Command(("systemctl", "disable", name), env=_QUIET, timeout=60.0)
    elif (root / "etc/init.d" / name).exists():
        command = Command(("update-rc.d", name, "disable"), env=_QUIET, timeout=60.0)
    else:
        return
    # A static unit cannot be disabled and does not start by itself: its refusal is no failure of ours.
    gate.run(command, check=False)
