"""Where an engine's programs are on a node, and how a command reaches them. Pure: golden files hold the commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ai_how.errors import UsageError
from ai_how.spec.runtime import ServingRuntime

#: Where Podman writes the number of a container's first process, which is no child of ours.
PID_FILE = "{folder}/container.pid"


@dataclass(frozen=True)
class Place:
    """A folder with ``bin/`` (None: what PATH holds once the ``modules`` are loaded), or an image.

    ``python`` is the interpreter of the node, 3.9 or newer, that runs the launcher; ``options`` are given to the
    program that runs the image.
    """

    python: str = "python3"
    kind: Literal["folder", "apptainer", "podman"] = "folder"
    at: str | None = None
    modules: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls, folder: Path) -> Place:
        """A virtual environment, whose own Python runs the launcher too."""
        return cls(python=str(folder / "bin" / "python"), at=str(folder))

    @classmethod
    def of_python(cls, python: Path) -> Place:
        """The environment of an interpreter."""
        return cls(python=str(python), at=str(python.parent.parent))

    @property
    def has_python(self) -> bool:
        """Whether the engine's own interpreter is known: then a script of ours can run in its environment."""
        return self.kind == "folder" and self.at is not None and self.python.startswith(f"{self.at}/bin/")

    def program(self, name: str) -> str:
        """A program of the engine's by its path in the folder, or by its name where PATH finds it."""
        return f"{self.at}/bin/{name}" if self.kind == "folder" and self.at is not None else name

    def command(
        self,
        name: str,
        words: Iterable[str],
        *,
        binds: Iterable[str] = (),
        variables: Iterable[str] = (),
        gpu: bool = False,
        home: str | None = None,
    ) -> tuple[str, ...]:
        """The argument list that runs the program ``name`` of the engine.

        An image sees the folders ``binds``, each at its own path, and the environment ``variables`` (names alone:
        their values are in no argument list); ``home`` is its home, where it must not be the user's. Its network is the
        node's.
        """
        if self.kind == "folder":
            return (self.program(name), *words)
        image = self.at or ""
        folders = tuple(dict.fromkeys(binds))
        if self.kind == "apptainer":
            shown = [word for folder in folders for word in ("--bind", folder)]
            how = [*(["--nv"] if gpu else []), *(["--home", home] if home else [])]
            return ("{apptainer}", "exec", *how, *shown, *self.options, image, name, *words)
        shown = [word for folder in folders for word in ("--volume", f"{folder}:{folder}")]
        told = {*variables, *(["CUDA_VISIBLE_DEVICES"] if gpu else [])}
        named = [word for variable in sorted(told) for word in ("--env", variable)]
        devices = ["--device", "nvidia.com/gpu=all"] if gpu else []
        # Podman's process is what the launcher watches. Without control groups of its own the container stays in the
        # job's, and ends with the job whatever happens. Its root is the user who starts it, or root if that is root.
        kept = ["--rm", "--init", "--network=host", "--user=0:0", "--cgroups=disabled",
                "--security-opt=label=disable", f"--pidfile={PID_FILE}"]  # fmt: skip
        return (
            "podman",
            "run",
            *kept,
            *devices,
            *shown,
            *named,
            *self.options,
            "--entrypoint",
            name,
            image,
            *words,
        )


def place_of(runtime: ServingRuntime | None, usual: str | None, ensure: Callable[[str], Path]) -> Place:
    """The place that a runtime means; without one, the kept environment ``usual``, or else what PATH holds.

    ``ensure`` gives the folder of a kept environment by its name, built now if need be. Raises :class:`UsageError` for
    an image or a path that is not absolute.
    """
    if runtime is None:
        return Place.of_environment(ensure(usual)) if usual else Place()
    python = runtime.python or "python3"
    if runtime.venv is not None:
        place = Place.of_environment(ensure(runtime.venv))
        return Place(runtime.python or place.python, "folder", place.at, runtime.modules)
    for what, given in (("image", runtime.image), ("path", runtime.path)):
        if given is not None and not given.startswith("/"):
            raise UsageError(
                f"the {what} {given} is no absolute path", todo="Nodes work elsewhere: write it whole."
            )
    if runtime.image is not None:
        return Place(python, "apptainer", runtime.image, runtime.modules, runtime.options)
    if runtime.podman is not None:
        return Place(python, "podman", runtime.podman, runtime.modules, runtime.options)
    return Place(python, "folder", runtime.path, runtime.modules)
