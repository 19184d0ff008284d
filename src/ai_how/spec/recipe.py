"""The types of a recipe: a YAML file that says how to run one kind of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ai_how.errors import Problem, SpecError
from ai_how.spec import walltime
from ai_how.spec.load import Path, Position, load
from ai_how.spec.model import Frozen, Time
from ai_how.spec.parse import nearest, validate

Argument = str | int | float | bool
#: A word that can stand behind two dashes.
ArgumentName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")]


def _memory(value: object) -> object:
    return f"{value}M" if isinstance(value, int) and not isinstance(value, bool) else value


class Runtime(Frozen):
    """Where a job's Python comes from: a kept environment, an image or a path, with modules or without; or modules."""

    venv: str | None = Field(
        None, description="A kept virtual environment that AI-HOW builds, such as torch."
    )
    image: str | None = Field(None, description="Path of an Apptainer image whose python3 runs the script.")
    modules: tuple[str, ...] = Field((), description="Environment modules to load before.")
    path: str | None = Field(None, description="An existing environment: the folder that holds bin/python.")

    @model_validator(mode="after")
    def _one_kind(self) -> Runtime:
        kinds = [one for one in (self.venv, self.image, self.path) if one is not None]
        if len(kinds) > 1 or not (kinds or self.modules):
            raise ValueError(
                "an environment is one of: venv; image; path; modules, alone or before one of them"
            )
        return self


class Resources(Frozen):
    """What the job asks Slurm for, in Slurm's notation."""

    nodes: int = Field(1, ge=1, description="How many nodes.")
    tasks_per_node: int = Field(1, ge=1, description="Training processes on each node.")
    cpus_per_task: int = Field(1, ge=1, description="CPUs of each process.")
    memory: Annotated[str, BeforeValidator(_memory), Field(pattern=r"^\d+[KMGT]?$")] = Field(
        "1G", description="Memory on each node, such as 2G."
    )
    gpus_per_node: int = Field(0, ge=0, description="GPUs on each node.")
    gpu: str | None = Field(None, description="Type of the GPUs, such as a100; any when left out.")
    time_limit: Time = Field("01:00:00", description="Time limit, such as 00:30:00, in quotes.")
    partition: str | None = Field(None, description="Partition; the cluster's default when left out.")

    @property
    def gres(self) -> str | None:
        """The value of ``--gres``."""
        if not self.gpus_per_node:
            return None
        return f"gpu:{self.gpu}:{self.gpus_per_node}" if self.gpu else f"gpu:{self.gpus_per_node}"


class ModelName(Frozen):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name under which the model is registered when the job completes."
    )


class Recipe(Frozen):
    """One recipe. Scripts are named relative to the recipe's own folder."""

    version: Literal["1.0"] = Field(description="Version of this file's shape, in quotes.")
    kind: Literal["train", "finetune", "evaluate"] = Field(description="The kind of work.")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = Field(description="Name of the recipe.")
    description: str = Field("", description="One line about it.")
    script: str | None = Field(None, description="The script that train and evaluate run.")
    prepare: str | None = Field(None, description="The script that runs before fine-tuning.")
    arguments: dict[ArgumentName, Argument] = Field(
        default_factory=dict, description="Arguments of the script."
    )
    environment: Runtime = Field(description="Where its Python comes from.")
    resources: Resources = Field(default_factory=Resources, description="What it asks Slurm for.")
    notice: int = Field(60, ge=1, description="Seconds before the time limit at which the job is told.")
    model: ModelName | None = Field(None, description="The model that it makes.")

    @model_validator(mode="after")
    def _has_its_script(self) -> Recipe:
        wanted = "prepare" if self.kind == "finetune" else "script"
        if getattr(self, wanted) is None:
            raise ValueError(f"a recipe of the kind '{self.kind}' needs '{wanted}'")
        return self

    @property
    def entry(self) -> str:
        """The script that is the user's own."""
        return (self.prepare if self.kind == "finetune" else self.script) or ""


def parse_recipe(text: str, name: str) -> Recipe:
    """A recipe from its text. Raises :class:`SpecError` with every mistake in it."""
    data, positions, problems = load(text, name)
    if problems:
        raise SpecError([problem for _, problem in problems])
    return check_recipe(data, positions, name)


def check_recipe(data: Any, positions: Mapping[Path, Position], name: str) -> Recipe:
    """A recipe from plain data, checked as a whole. Raises :class:`SpecError`."""
    recipe = validate(Recipe, data, positions, name)
    if _shorter(recipe):
        at = nearest(positions, ("notice",))
        raise SpecError(
            [Problem("the notice comes before the job has begun: it is as long as the time limit",
                     name, at.line, at.column, todo="Make time_limit longer or notice shorter.")]
        )  # fmt: skip
    return recipe


def _shorter(recipe: Recipe) -> bool:
    return walltime.seconds(recipe.resources.time_limit) <= recipe.notice
