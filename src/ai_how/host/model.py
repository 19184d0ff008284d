"""The types of this room: what a distribution, a program and a found program are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Progress = Callable[[str], None]
Origin = Literal["path", "apt", "unpacked", "wheel"]
Family = Literal["debian", "fedora", "suse", "arch", "unknown"]


def silent(line: str) -> None:
    """A progress that says nothing."""


@dataclass(frozen=True)
class Distribution:
    """Which Linux this is, by /etc/os-release."""

    id: str
    version: str
    name: str
    codename: str = ""
    like: tuple[str, ...] = ()

    @property
    def release(self) -> str:
        """``debian-12``: what packages are chosen by and unpacked under."""
        return f"{self.id}-{self.version}" if self.version else self.id

    @property
    def family(self) -> Family:
        """Whose packages and tools it uses."""
        names = (self.id, *self.like)
        for family, members in _FAMILIES.items():
            if any(name in members for name in names):
                return family
        return "unknown"


_FAMILIES: Mapping[Family, frozenset[str]] = {
    "debian": frozenset({"debian", "ubuntu"}),
    "fedora": frozenset({"fedora", "rhel", "centos", "rocky", "almalinux"}),
    "suse": frozenset({"suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles"}),
    "arch": frozenset({"arch"}),
}


@dataclass(frozen=True)
class Program:
    """A program that AI-HOW needs, what for, and where it comes from.

    ``packages`` maps a release (``debian-12``), a distribution (``ubuntu``) or a family (``fedora``) to the
    packages that carry it, the narrowest first choice. ``also_named`` are other names of the executable,
    ``folders`` patterns of folders to search besides PATH. ``version_argv`` are arguments that make it print
    its version; None when it has no such thing, and ``version_of`` then names the program whose version is
    its own. ``wheel`` is the runtime environment that carries it when it comes as a Python wheel.
    A ``library`` is looked for in the same way, though nobody executes it.
    """

    name: str
    purpose: str
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    also_named: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    version_argv: tuple[str, ...] | None = ("--version",)
    version_of: str | None = None
    wheel: str | None = None
    library: bool = False

    def packages_for(self, distribution: Distribution) -> tuple[str, ...]:
        """The packages that carry it there; empty when nobody knows."""
        for key in (distribution.release, distribution.id, distribution.family):
            if key in self.packages:
                return self.packages[key]
        return ()


@dataclass(frozen=True)
class Found:
    """A program that is there.

    ``env`` is what it needs in its environment to run; ``prefix`` is the folder that stands for ``/`` when it
    was unpacked, and None otherwise.
    """

    name: str
    path: Path
    version: str | None
    origin: Origin
    env: Mapping[str, str] = field(default_factory=dict)
    prefix: Path | None = None

    @property
    def root(self) -> Path:
        """What stands for ``/`` among this program's files."""
        return self.prefix or Path("/")

    def beside(self, *patterns: str) -> Path | None:
        """The first file or folder of its package that matches one of ``patterns`` (``usr/lib/*/slurm-wlm``)."""
        for pattern in patterns:
            for path in sorted(self.root.glob(pattern)):
                return path
        return None
