"""What a service is, and all that its definition may depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai_how.gpu.allocation import Allocation
from ai_how.host.model import Found
from ai_how.run import Command
from ai_how.services.layout import Layout
from ai_how.spec import SiteSpec


@dataclass(frozen=True)
class File:
    """A rendered file. Its text may hold secrets, so it is never shown.

    ``account`` owns it when that is not the site's own.
    """

    path: Path
    text: str = field(repr=False)
    mode: int = 0o600
    account: str | None = None


@dataclass(frozen=True)
class Initialisation:
    """What is done once, before a service's first start.

    The commands fill ``target`` under another name (``aside``); it gets its own name when all of them have
    ended well, so that a half-made database is never taken for a database.
    """

    target: Path
    commands: tuple[Command, ...] = ()

    @property
    def aside(self) -> Path:
        return aside(self.target)


def aside(target: Path) -> Path:
    """The name under which ``target`` is made."""
    return target.with_name(target.name + ".new")


@dataclass(frozen=True)
class CommandProbe:
    """Healthy when the command succeeds and ``expect`` is in what it prints."""

    command: Command
    expect: str = ""


@dataclass(frozen=True)
class HttpProbe:
    """Healthy when the address answers with status 200. ``ca``: the certificate that it is known by, for https."""

    url: str
    body: str | None = None
    ca: Path | None = None


@dataclass(frozen=True)
class PortProbe:
    """Healthy when the TCP port on loopback accepts a connection."""

    port: int


@dataclass(frozen=True)
class SocketProbe:
    """Healthy when the Unix socket accepts a connection."""

    path: Path


@dataclass(frozen=True)
class HeartbeatProbe:
    """Healthy when the file was written within so many ``seconds``."""

    path: Path
    seconds: float


Probe = CommandProbe | HttpProbe | PortProbe | SocketProbe | HeartbeatProbe


@dataclass(frozen=True)
class Settle:
    """A command that brings about what may already be: ``already`` is what it says when it had nothing to do."""

    command: Command
    already: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """A daemon of the site, in the foreground of its supervisor.

    ``reads`` are files of other services that must be there before it starts, but whose change is no reason to
    restart it. ``after`` names the services that must be healthy before it starts. ``settle`` is run each time
    it has become healthy. ``account`` is the user it runs as when that is not the site's own. ``leaves`` are
    files outside the site's folder that it does not remove itself. ``stop_seconds`` is how long it may take to
    end before it is killed, ``start_seconds`` how long to become healthy.
    """

    name: str
    purpose: str
    argv: tuple[str, ...]
    probe: Probe
    env: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    files: tuple[File, ...] = ()
    reads: tuple[File, ...] = ()
    initialisation: Initialisation | None = None
    after: tuple[str, ...] = ()
    settle: tuple[Settle, ...] = ()
    account: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    leaves: tuple[Path, ...] = ()
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    start_seconds: float = 60.0

    @property
    def digest(self) -> str:
        """Changes when something would have to be done to the process, or said to it, to be as asked."""
        facts = [
            self.argv,
            sorted(self.env.items()),
            [(str(file.path), file.text) for file in self.files],
            self.account,
            [settle.command.argv for settle in self.settle],
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Host:
    """The facts about this machine that configurations depend on.

    ``loopback_name`` tells whether ``name`` stands for 127.0.0.1.
    """

    name: str
    user: str
    is_root: bool
    character_devices: tuple[str, ...] = ()
    loopback_name: bool = True


@dataclass(frozen=True)
class Setting:
    """Everything a definition may depend on, so that definitions are pure functions of it.

    ``ports`` are the site's own by name; ``programs`` what the toolbox found; ``environments`` the Python
    interpreter of each runtime environment; ``python`` the interpreter that runs AI-HOW itself;
    ``gpus`` who has which part of the GPUs that the file lists.
    """

    spec: SiteSpec
    layout: Layout
    host: Host
    ports: Mapping[str, int]
    programs: Mapping[str, Found]
    environments: Mapping[str, Path]
    secrets: Mapping[str, str] = field(repr=False)
    python: Path
    gpus: Allocation = Allocation()

    def program(self, name: str) -> str:
        """Path of a program; its bare name while it is not there yet, which is enough for a plan."""
        found = self.programs.get(name)
        return str(found.path) if found else name

    def program_env(self, *names: str) -> dict[str, str]:
        """What these programs need in their environment."""
        env: dict[str, str] = {}
        for name in names:
            if found := self.programs.get(name):
                env.update(found.env)
        return env

    def python_of(self, environment: str) -> str:
        """The interpreter of a runtime environment; a bare name while it is not built."""
        path = self.environments.get(environment)
        return str(path) if path else f"{environment}/bin/python"

    def beside(self, program: str, *patterns: str) -> Path | None:
        """A file of a program's package, but only when that was unpacked outside its usual place."""
        found = self.programs.get(program)
        return found.beside(*patterns) if found and found.prefix else None


#: Nothing phones home: what switches the telemetry of every component off.
NO_TELEMETRY: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
