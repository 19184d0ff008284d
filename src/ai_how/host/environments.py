"""Runtime environments: virtual environments made once from a pinned list, kept, and shared by all sites.

An environment's folder carries a digest of its list and of the Python it was made with, so a changed list makes
a new environment beside the old one, under which jobs may still run. One without its stamp, which is written
last, is half-made: it is never used, and made anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import AiHowError, CommandFailed, NotFound
from ai_how.host.folders import Folders
from ai_how.host.mirrors import settings_of_this_machine
from ai_how.host.model import Progress, silent
from ai_how.host.turn import turn
from ai_how.run import Command, Gate

REQUIREMENTS = Path(__file__).parent / "requirements"
_STAMP = ".ai-how"
_NO_TELEMETRY = {"DO_NOT_TRACK": "1"}
# Lists that are parts of others: the launcher's own environment, and PyTorch's CUDA build.
_NO_ENVIRONMENT = frozenset({"bootstrap", "core", "dev", "cuda"})
#: The Python whose CPU build of PyTorch the lists carry the hash of.
_HASHED_PYTHON = (3, 11)
# What is imported of an environment whose packages are mostly never used: compiling that alone takes a third of the
# time that compiling all of it does.
_USED = {
    "transformers": "import transformers.cli.serve, transformers.cli.serving.response, uvicorn, fastapi, openai;"
    "from transformers import AutoProcessor, ContinuousBatchingConfig, LlamaForCausalLM, PreTrainedTokenizerFast",
}
_CPU_BUILD = re.compile(r"^(torch==\S+\+cpu)\b", re.MULTILINE)


@dataclass(frozen=True)
class Environment:
    """A runtime environment that can be had: its name, its folder, and whether it is built."""

    name: str
    folder: Path
    built: bool


class Environments:
    """Builds and finds runtime environments in the user's data folder.

    ``requirements`` is the folder of the lists, ``python`` the interpreter that environments are made with.
    """

    def __init__(
        self, gate: Gate, folders: Folders, *, requirements: Path = REQUIREMENTS, python: Path | None = None
    ) -> None:
        self._gate = gate
        self._folders = folders
        self._requirements = requirements
        self._python = python or base_python()

    def names(self) -> list[str]:
        """Every environment that there is a list for, but the launcher's own."""
        return sorted(
            file.stem for file in self._requirements.glob("*.txt") if file.stem not in _NO_ENVIRONMENT
        )

    def all(self) -> list[Environment]:
        """Every environment, built or not."""
        return [Environment(name, self.folder(name), self.find(name) is not None) for name in self.names()]

    def folder(self, name: str) -> Path:
        """Where the environment is, or will be; raises :class:`NotFound` when there is no list of that name."""
        try:
            text = self._list(name).read_bytes()
            if _CPU_BUILD.search(text.decode()):
                text += self._list("cuda").read_bytes() + str(has_nvidia()).encode()
        except OSError as error:
            raise NotFound(
                f"there is no runtime environment of the name {name!r}",
                where=str(self._list(name)),
                todo=f"There are: {', '.join(self.names())}.",
            ) from error
        digest = hashlib.sha256(text + f"\0{self._python}\0{sys.version_info[:2]}".encode()).hexdigest()
        return self._folders.environments / f"{name}-{digest[:12]}"

    def find(self, name: str) -> Path | None:
        """The environment's folder when it is built and whole."""
        folder = self.folder(name)
        return folder if (folder / _STAMP).is_file() and os.access(folder / "bin/python", os.X_OK) else None

    def ensure(self, name: str, progress: Progress = silent) -> Path:
        """The environment's folder, built now if it is not; a second process waits for the first.

        Raises :class:`AiHowError` with what uv said when it cannot be built.
        """
        built = self.find(name)
        if built is not None:
            return built
        self._folders.make()
        with turn(self._folders.environments / f".{name}.lock", f"build the {name} environment", progress):
            return self.find(name) or self._build(name, progress)

    def _build(self, name: str, progress: Progress) -> Path:
        folder = self.folder(name)
        started = time.monotonic()
        progress(f"building the {name} environment")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self._gate.run(self._command("venv", "--no-project", "--python", str(self._python), str(folder)))
            self._fill(name, folder, progress)
            self._compile_used(name, folder)
        except CommandFailed as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise AiHowError(
                f"the {name} environment could not be built",
                where=error.where,
                cause="a package could not be had, or the disk is full",
                todo="Check that pip can reach its index from this machine, then do the same again.",
                detail=error.detail,
            ) from error
        (folder / _STAMP).write_text(f"{name}\n", encoding="utf-8")
        progress(f"built the {name} environment in {time.monotonic() - started:.1f} s")
        return folder

    def _fill(self, name: str, folder: Path, progress: Progress) -> None:
        """Install the list; where it holds PyTorch, in the build that this machine can have and use."""
        text = self._list(name).read_text(encoding="utf-8")
        pinned = _CPU_BUILD.search(text)
        if pinned is None:
            self._gate.run(self._install(folder, self._list(name), whole=name not in _USED))
            return
        pin = pinned.group(1)
        settings = None if has_nvidia() else self._where_cpu_build_is(folder, pin)
        if settings is not None and sys.version_info[:2] == _HASHED_PYTHON:
            self._gate.run(self._install(folder, self._list(name), settings, whole=name not in _USED))
            return
        rest = folder / "requirements.txt"
        if settings is None:
            why = "" if has_nvidia() else ", as its CPU build cannot be had here: that takes 5 GB of disk"
            progress(f"taking PyTorch in its CUDA build{why}")
            cuda = self._list("cuda").read_text(encoding="utf-8")
            rest.write_text(without_torch(text) + cuda, encoding="utf-8")
            self._gate.run(self._install(folder, rest))
            return
        # The CPU build of PyTorch is not on PyPI, and its hash is known for one Python alone; for the others the
        # version is pinned, and where it comes from vouches for it.
        rest.write_text(without_torch(text), encoding="utf-8")
        self._gate.run(self._install(folder, rest))
        words = ("pip", "install", "--no-deps", "--compile-bytecode", "--python", str(folder / "bin/python"))
        self._gate.run(self._command(*words, pin, settings=settings))

    def _compile_used(self, name: str, folder: Path) -> None:
        if name in _USED:
            words = (str(folder / "bin/python"), "-I", "-c", _USED[name])
            # Empty, which is as good as unset: some shells forbid Python to keep what it compiled.
            self._gate.run(Command(words, env={"PYTHONDONTWRITEBYTECODE": ""}, cwd=Path("/"), timeout=600.0))

    def _where_cpu_build_is(self, folder: Path, pin: str) -> dict[str, str] | None:
        """Settings for uv under which PyTorch's CPU build is found: those of this machine, else PyTorch's own."""
        words = ("pip", "install", "--dry-run", "--no-deps", "--python", str(folder / "bin/python"), pin)
        choices: tuple[dict[str, str], ...] = ({}, {"UV_TORCH_BACKEND": "cpu"})
        for settings in choices:
            if self._gate.run(self._command(*words, settings=settings), check=False).ok:
                return settings
        return None

    def add_to_own(self, name: str, progress: Progress = silent) -> None:
        """Install the list ``name`` into the environment that runs this, beside what is there.

        For what only developers need. Raises :class:`AiHowError` when that fails.
        """
        own = Path(sys.prefix)
        text = self._list(name).read_bytes()
        stamp = own / f"{_STAMP}-{name}-{hashlib.sha256(text).hexdigest()[:12]}"
        launched = own / _STAMP
        if stamp.is_file() and (not launched.is_file() or stamp.stat().st_mtime >= launched.stat().st_mtime):
            return
        self._folders.make()
        with turn(self._folders.environments / ".own.lock", f"install the {name} requirements", progress):
            progress(f"installing the {name} requirements")
            try:
                self._gate.run(self._install(own, self._list(name)))
            except CommandFailed as error:
                raise AiHowError(
                    f"the {name} requirements could not be installed", where=error.where, detail=error.detail
                ) from error
            stamp.touch()

    def _list(self, name: str) -> Path:
        return self._requirements / f"{name}.txt"

    def _install(
        self,
        folder: Path,
        requirements: Path,
        settings: Mapping[str, str] | None = None,
        *,
        whole: bool = True,
    ) -> Command:
        # A list is whole: what it names is installed as it is, also where two packages' wishes disagree.
        return self._command(
            "pip",
            "install",
            "--no-deps",
            "--python",
            str(folder / "bin/python"),
            "--require-hashes",
            *(["--compile-bytecode"] if whole else []),
            "--requirement",
            str(requirements),
            settings=settings,
        )

    def _command(self, *words: str, settings: Mapping[str, str] | None = None) -> Command:
        env = {**settings_of_this_machine(), **_NO_TELEMETRY, **(settings or {})}
        # Run from / : uv reads the configuration of a project it stands in.
        return Command((uv(), *words), env=env, cwd=Path("/"), timeout=3600.0)


def without_torch(text: str) -> str:
    """A list of pinned requirements without the lines that pin PyTorch."""
    kept, on = [], True
    for line in text.splitlines(keepends=True):
        if line[:1].strip():
            on = not line.startswith("torch==")
        if on:
            kept.append(line)
    return "".join(kept)


def has_nvidia(dev: Path = Path("/dev")) -> bool:
    """Does this machine have an NVIDIA GPU with its driver?"""
    return any(dev.glob("nvidia[0-9]*"))


def base_python() -> Path:
    """The Python that the environment which runs this was made with."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def uv() -> str:
    """The path of uv in the environment that runs this; uv on PATH when it has none."""
    own = Path(sys.prefix) / "bin" / "uv"
    return str(own) if own.is_file() else "uv"
