"""The models that a site serves: what of them, how many, when more and when none."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ai_how.spec.hpc import AccountName, SlurmName
from ai_how.spec.runtime import ServingRuntime
from ai_how.spec.values import Duration, Frozen, Shape, Time

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: What may name a model that is served; the gateway asks for the same.
ServedName = Annotated[
    str,
    Shape(
        r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}",
        "name of a served model: a letter or digit first, then letters, digits and . _ : / @ + -",
    ),
]
Source = Annotated[
    str, Shape(r"\S.{0,499}", "model: a registered NAME, NAME:VERSION or NAME@ALIAS, or a path")
]
Memory = Annotated[str, Shape(r"[1-9]\d{0,8}[MGT]", "amount of memory, such as 8G")]
Gres = Annotated[str, Shape(r"gpu(:[A-Za-z0-9._-]+)?:[1-9]\d{0,2}", "GRES of Slurm, such as gpu:a100:1")]


def seconds(duration: str) -> float:
    """The seconds of a :data:`Duration`. Raises :class:`ValueError`."""
    found = re.fullmatch(r"(\d+)([smhd])", duration)
    if found is None:
        raise ValueError(f"'{duration}' is no duration, such as 90s, 15m or 2h")
    return float(int(found[1]) * _UNITS[found[2]])


class ServingResources(Frozen):
    """What one replica asks Slurm for."""

    cpus: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="CPUs of a replica.")
    memory: Memory | None = Field(
        None, description="Memory of a replica, such as 8G; what the model needs when left out."
    )
    gres: Gres | None = Field(
        None,
        description="GPUs of a replica, such as gpu:a100:1; when left out the smallest that holds the model, where the "
        "engine computes on GPUs.",
    )
    time_limit: Time = Field(
        "08:00:00", description="Time limit of a replica's job; a new one takes over before it is reached."
    )
    partition: SlurmName | None = Field(None, description="Partition; the default one when left out.")
    account: AccountName | None = Field(None, description="Account that the jobs are charged to.")
    qos: SlurmName | None = Field(None, description="QOS of the jobs.")


class Replicas(Frozen):
    min: Annotated[int, Field(ge=0, le=1000)] = Field(
        1, description="Never fewer; 0 lets the model sleep while nobody asks."
    )
    max: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="Never more.")


def _replicas(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"min": value, "max": max(value, 1)}
    return value


class Scaling(Frozen):
    """When a model gets more replicas, and when fewer."""

    queue: Annotated[int, Field(ge=0, le=100_000)] = Field(
        4,
        description="Requests that may wait for each replica, beside those it answers, before there is one more.",
    )
    tokens: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Tokens in flight on each replica before there is one more; not counted when left out.",
    )
    up_after: Duration = Field("3s", description="How long more must have been needed before one is added.")
    down_after: Duration = Field("5m", description="How long fewer must have been enough before one goes.")


class Canary(Frozen):
    """Another version of the model, which gets a part of the requests."""

    source: Source = Field(description="The other version, written as the source of the model.")
    weight: Annotated[int, Field(ge=1, le=99)] = Field(
        10, description="How many of a hundred requests it gets."
    )


#: The engines that models are served with; a test holds this against those that there are.
ENGINE_NAMES = ("llama.cpp", "ollama", "transformers", "vllm")


class ServedModel(Frozen):
    name: ServedName = Field(description="The name that clients ask for.")
    source: Source = Field(
        description="The model: a registered NAME, NAME:VERSION or NAME@ALIAS, a Hugging Face folder, a GGUF file, "
        "hf:ORG/NAME@REVISION or ollama:NAME:TAG."
    )
    engine: Annotated[str, Shape(r"[a-z][a-z0-9._-]{0,63}", "engine, such as llama.cpp")] | None = Field(
        None,
        description="The engine that serves it: llama.cpp, ollama, transformers or vllm; by the model when left out.",
    )
    runtime: ServingRuntime | None = Field(
        None, description="Where the engine's programs are; a kept environment of its own when left out."
    )
    context: Annotated[int, Field(ge=16, le=10_000_000)] = Field(
        2048, description="Context of each request, in tokens."
    )
    slots: Annotated[int, Field(ge=1, le=4096)] = Field(
        2, description="Requests that a replica answers at once."
    )
    resources: ServingResources = Field(
        default_factory=ServingResources, description="CPUs, memory, GPUs and time of one replica."
    )
    replicas: Annotated[Replicas, BeforeValidator(_replicas, json_schema_input_type=int | Replicas)] = Field(
        default_factory=Replicas, description="How many replicas: one number, or the fewest and the most."
    )
    scaling: Scaling = Field(
        default_factory=Scaling, description="When there are more replicas, and when fewer."
    )
    idle: Duration | None = Field(
        None,
        description="How long nobody must have asked before the model sleeps; 15m when left out. For min: 0.",
    )
    wakes: bool = Field(True, description="Whether a request wakes a sleeping model, and waits for it.")
    canary: Canary | None = Field(None, description="Another version that gets a part of the requests.")


class Serving(Frozen):
    margin: Duration = Field(
        "2m",
        description="Time to spare before a time limit, beside the wait in the queue and the load of the model.",
    )
    drain: Duration = Field(
        "10m", description="How long a replica that goes may take to end the requests that it holds."
    )
    models: tuple[ServedModel, ...] = Field((), description="The models, each by a name of its own.")


#: Sleeps after this, where the file says nothing.
IDLE: Literal["15m"] = "15m"
