"""How a cluster of somebody else's is reached: which gate its commands go through, and where its files are."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ai_how.errors import CouldNotTell
from ai_how.providers.cluster import Cluster
from ai_how.run import (
    Clock,
    Command,
    Gate,
    LocalGate,
    LocalShare,
    Share,
    SshGate,
    SshMaster,
    SshShare,
    SshTarget,
    SshTunnels,
    SystemClock,
    write_whole,
)
from ai_how.services import Layout
from ai_how.services.cluster import HERE, read_settings
from ai_how.slurm.own import Habits, OwnSlurm
from ai_how.spec.provider import Existing

#: Slurm's commands that are called there.
COMMANDS = ("sbatch", "scancel", "scontrol", "squeue", "sinfo", "sacct", "sacctmgr")


@dataclass
class Reach:
    """The way to one cluster. With ``ask`` somebody sits at the terminal, and ssh may ask for what it needs."""

    site: str
    existing: Existing
    layout: Layout
    clock: Clock
    here: Gate
    ask: bool = False

    @property
    def local(self) -> bool:
        """Whether this machine is a login node of the cluster itself."""
        return self.existing.host == HERE

    @cached_property
    def master(self) -> SshMaster | None:
        """The connection that all commands share; None where there is no SSH."""
        if self.local:
            return None
        told = self.existing
        target = SshTarget(
            host=told.host,
            user=told.user,
            port=told.port,
            identity_file=_here(told.identity_file),
            jump_host=told.jump_host,
            config_file=_here(told.config_file),
        )
        # One name a destination: a file that names another host must not find the former connection.
        digest = hashlib.sha256(repr(target).encode()).hexdigest()[:6]
        return SshMaster(target, self.layout.run / f"ssh-{digest}", ask=self.ask)

    @cached_property
    def gate(self) -> Gate:
        return SshGate(self.master) if self.master else self.here

    @cached_property
    def share(self) -> Share:
        return SshShare(self.gate) if isinstance(self.gate, SshGate) else LocalShare()

    @cached_property
    def home(self) -> Path:
        """The user's home folder there; asked once, and remembered."""
        note = self.layout.state / "there.json"
        known: dict[str, str] = json.loads(note.read_text()) if note.exists() else {}
        key = f"{self.existing.user or ''}@{self.existing.host}"
        if key not in known:
            said = self.gate.run(Command(("sh", "-c", "cd && pwd"), timeout=60)).stdout.strip()
            if not said.startswith("/"):
                raise CouldNotTell(
                    f"{self.existing.host} does not say where your home folder is", detail=said
                )
            known[key] = said
            if self.layout.state.is_dir():
                write_whole(note, json.dumps(known, indent=2) + "\n")
        return Path(known[key])

    def there(self, path: str) -> Path:
        """A path of the file's as the cluster sees it: ``~`` is the home folder there."""
        if path == "~" or path.startswith("~/"):
            return self.home / path[2:]
        return Path(path)

    @cached_property
    def folder(self) -> Path:
        """The one folder that is ours."""
        return self.there(self.existing.folder or f"~/.ai-how/{self.site}")

    @cached_property
    def slurm(self) -> OwnSlurm:
        told = self.existing
        programs: Mapping[str, Path] = {}
        if told.commands is not None:
            folder = self.there(told.commands)
            programs = {name: folder / name for name in COMMANDS}
        conf = self.there(told.slurm_conf) if told.slurm_conf else None
        return OwnSlurm(self.gate, programs, habits(told), self.clock, poll=told.poll_seconds, conf=conf)

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster to those who use it."""
        tunnels = SshTunnels(self.master) if self.master else None
        binds = self.existing.jobs.bind
        return Cluster(self.slurm, self.share, self.folder, tunnels, apart=True, binds=binds)

    def open(self) -> None:
        """Make sure that there is a connection. Raises :class:`CouldNotTell` with the cause and what to do."""
        if self.master is not None:
            self.master.open()

    def close(self) -> None:
        """End the connection."""
        if self.master is not None:
            self.master.close()


def habits(existing: Existing) -> Habits:
    """What the file wants of every job. Pure."""
    jobs = existing.jobs
    told = {
        "account": jobs.account, "qos": jobs.qos, "partition": jobs.partition, "constraint": jobs.constraint,
        "reservation": jobs.reservation,
    }  # fmt: skip
    further = (option.partition("=") for option in jobs.options)
    return Habits(
        options=(
            *((name, value) for name, value in told.items() if value is not None),
            *((name, value) for name, _, value in further),
        ),
        modules=jobs.modules,
    )


def reach(
    site: str, existing: Existing, layout: Layout, *, gate: Gate | None = None, clock: Clock | None = None
) -> Reach:
    """The way to the cluster for a command: one that is run at a terminal may ask there."""
    ask = sys.stdin is not None and sys.stdin.isatty()
    return Reach(site, existing, layout, clock or SystemClock(), gate or LocalGate(), ask)


def reach_of_site(layout: Layout) -> Reach | None:
    """The same for a daemon of the site, which asks nothing; None where the site's cluster is its own."""
    settings = read_settings(layout)
    if settings is None:
        return None
    return Reach(settings.site, settings.existing, layout, SystemClock(), LocalGate())


def _here(path: str | None) -> Path | None:
    return Path(path).expanduser() if path else None
