"""Runtime environments on the cluster: those that the file names, and those that are made there when it says so."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from pathlib import Path

from ai_how.errors import AiHowError, CommandFailed, NotFound
from ai_how.host.environments import REQUIREMENTS
from ai_how.providers.existing.reach import Reach
from ai_how.run import Command
from ai_how.slurm.modules import loading

#: Written last: an environment without it is half-made.
STAMP = ".ai-how"
_PLACE = "clusters.hpc.existing.environments"
#: Seconds that pip may take: PyTorch with CUDA is several GB.
_BUILD_SECONDS = 3600.0


class FarEnvironments:
    """Finds and makes runtime environments there, each with the Python that the cluster has."""

    def __init__(self, reach: Reach, *, requirements: Path = REQUIREMENTS) -> None:
        self._reach = reach
        self._requirements = requirements

    def ensure(self, name: str, progress: Callable[[str], None]) -> Path:
        """The folder there that holds ``bin/python``.

        Raises :class:`NotFound` with the commands that make it where the file does not have it made.
        """
        reach = self._reach
        for known in reach.existing.environments:
            if known.name == name:
                folder = reach.there(known.path)
                self._must_hold_python(name, folder)
                return folder
        folder = self.folder(name)
        if self._has(f"{folder}/{STAMP}"):
            return folder
        if not reach.existing.build:
            raise NotFound(
                f"the runtime environment '{name}' is not there",
                where=f"{reach.existing.host}:{folder}",
                todo=f"Name one in the file under {_PLACE}; or write `build: true` there and it is made by: "
                + self._recipe(name, folder),
            )
        self._build(name, folder, progress)
        return folder

    def folder(self, name: str) -> Path:
        """Where it is made: another list of packages makes another one beside it."""
        digest = hashlib.sha256(self._list(name).read_bytes()).hexdigest()[:12]
        return self._reach.folder / "envs" / f"{name}-{digest}"

    def _build(self, name: str, folder: Path, progress: Callable[[str], None]) -> None:
        reach = self._reach
        progress(f"making the {name} environment on {reach.existing.host}")
        reach.share.write({folder.with_suffix(".txt"): self._list(name).read_text(encoding="utf-8")})
        # The modules of jobs, for where Python itself is one.
        script = f"{self._modules()}{self._recipe(name, folder)} && touch {shlex.quote(f'{folder}/{STAMP}')}"
        try:
            reach.gate.run(Command(("bash", "-c", script), timeout=_BUILD_SECONDS))
        except CommandFailed as error:
            reach.share.remove(folder)
            raise AiHowError(
                f"the {name} environment could not be made there",
                where=f"{reach.existing.host}:{folder}",
                cause="its Python is too old, or pip reaches no index from there",
                detail=error.detail,
                todo=f"Make one by hand, and name it in the file under {_PLACE}.",
            ) from error

    def _recipe(self, name: str, folder: Path) -> str:
        """The commands that make it."""
        path, pip = shlex.quote(str(folder)), shlex.quote(f"{folder}/bin/python")
        packages = shlex.quote(str(folder.with_suffix(".txt")))
        return f"python3 -m venv {path} && {pip} -m pip install --no-deps --require-hashes -r {packages}"

    def _modules(self) -> str:
        return "".join(f"{line}\n" for line in loading(self._reach.existing.jobs.modules))

    def _must_hold_python(self, name: str, folder: Path) -> None:
        if not self._has(f"{folder}/bin/python"):
            raise NotFound(
                f"the runtime environment '{name}' has no bin/python",
                where=f"{self._reach.existing.host}:{folder}",
                todo=f"Correct its path in the file under {_PLACE}.",
            )

    def _has(self, path: str) -> bool:
        return self._reach.gate.run(Command(("test", "-e", path), timeout=60), check=False).ok

    def _list(self, name: str) -> Path:
        path = self._requirements / f"{name}.txt"
        if not path.is_file():
            raise NotFound(
                f"there is no list of packages for the runtime environment '{name}'",
                todo=f"Name one that is there in the file under {_PLACE}.",
            )
        return path
