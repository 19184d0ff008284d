"""Where an engine's programs come from: the ``runtime:`` of a served model, and ``--runtime``. Pure."""

from __future__ import annotations

from pydantic import Field, model_validator

from ai_how.errors import UsageError
from ai_how.spec.values import Frozen

_KINDS = ("venv", "image", "podman", "path")


class ServingRuntime(Frozen):
    """One of: a kept virtual environment; an Apptainer image; a Podman image; modules and a path, or either."""

    venv: str | None = Field(
        None, description="A kept virtual environment that AI-HOW builds, such as llama-cpp."
    )
    image: str | None = Field(None, description="Path of an Apptainer image that holds the engine.")
    podman: str | None = Field(None, description="Name of a Podman image that holds the engine.")
    modules: tuple[str, ...] = Field((), description="Environment modules to load before.")
    path: str | None = Field(None, description="An existing installation: the folder that holds bin/.")
    python: str | None = Field(
        None, description="The node's Python, 3.9 or newer, for the launcher; python3 when left out."
    )

    options: tuple[str, ...] = Field(
        (),
        description="More options of `apptainer exec` or `podman run`, each one word, such as --ulimit=host.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> ServingRuntime:
        named = [self.venv, self.image, self.podman, self.path]
        if sum(one is not None for one in named) > 1:
            raise ValueError("a runtime is one of: venv; image; podman; path; each with modules or without")
        if not any(named) and not self.modules:
            raise ValueError("a runtime names a venv, an image, a podman image, a path or modules")
        if self.options and not (self.image or self.podman):
            raise ValueError("options are for an image or a podman image, which this runtime does not name")
        return self


def parse_runtime(text: str) -> ServingRuntime:
    """What ``--runtime`` says: ``venv:NAME``, ``image:FILE.sif``, ``podman:IMAGE``, ``path:FOLDER`` or
    ``modules:ONE,TWO``; ``;`` joins modules with one of the others. Raises :class:`UsageError`.
    """
    found: dict[str, object] = {}
    for part in text.split(";"):
        kind, _, value = part.partition(":")
        if not value or kind not in (*_KINDS, "modules") or kind in found:
            raise UsageError(
                f"{text!r} is no runtime",
                todo="Write venv:NAME, image:FILE.sif, podman:IMAGE, path:FOLDER or modules:ONE,TWO;path:FOLDER.",
            )
        found[kind] = tuple(filter(None, value.split(","))) if kind == "modules" else value
    try:
        return ServingRuntime.model_validate(found)
    except ValueError as error:
        raise UsageError(
            f"{text!r} names more than one runtime", todo="Name one, with modules or without."
        ) from error
