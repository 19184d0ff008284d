"""What a bench recipe measures (``target``) and what it asks of it (``workload``). Pure.

A target's ``api`` names the one section of the workload that belongs to it (:data:`SECTIONS`). A new kind of target
adds its word to :data:`Api`, its section here, and a module to :mod:`ai_how.bench.targets`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ai_how.spec.bench_load import Load, Positive
from ai_how.spec.bench_workloads import (
    Chain,
    Checkpoint,
    Collective,
    Fio,
    Loader,
    Metadata,
    Objects,
    Retrieval,
    Scheduler,
    Sql,
    Texts,
    Training,
)
from ai_how.spec.load import tuples
from ai_how.spec.recipe import Resources
from ai_how.spec.runtime import ServingRuntime
from ai_how.spec.serving import ServingResources, Source
from ai_how.spec.values import Frozen

__all__ = [
    "ADDRESSED",
    "MODELS",
    "SECTIONS",
    "Deploy",
    "Pair",
    "Part",
    "Positive",
    "Prompts",
    "Request",
    "Target",
    "Workload",
]
#: A name in the environment.
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
#: `http://HOST:PORT` or `https://HOST:PORT`; a host in brackets is an IPv6 address.
_ADDRESS = re.compile(r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/?$")
_PORT = re.compile(r":(\d+)/?$")

Api = Literal[
    "http", "openai", "ollama", "embeddings", "chain", "retrieval", "s3", "sql", "fio", "metadata", "checkpoint",
    "loader", "scheduler", "training", "collective", "pair",
]  # fmt: skip
#: Tools that give a second opinion: on models, on storage, on networks.
Second = Literal["guidellm", "aiperf", "vllm", "elbencho", "ior", "mdtest", "warp", "nccl-tests"]
#: Which section of the workload belongs to which kind of target.
SECTIONS: dict[str, str] = {
    "http": "request",
    "openai": "prompts",
    "ollama": "prompts",
    "embeddings": "texts",
    "chain": "chain",
    "retrieval": "retrieval",
    "s3": "objects",
    "sql": "sql",
    "fio": "fio",
    "metadata": "metadata",
    "checkpoint": "checkpoint",
    "loader": "loader",
    "scheduler": "scheduler",
    "training": "training",
    "collective": "collective",
    "pair": "pair",
}
#: Kinds that ask a served model: of the gateway, where no address is written.
MODELS = ("openai", "ollama", "embeddings", "chain")
#: Kinds that have an address.
ADDRESSED = ("http", *MODELS, "s3", "retrieval")


class Deploy(Frozen):
    """A model that is served for the benchmark alone: brought up as Slurm jobs before it, taken down after it."""

    source: Source = Field(
        description="The model: a registered NAME, NAME:VERSION or NAME@ALIAS, a Hugging Face folder, a GGUF file, "
        "hf:ORG/NAME@REVISION or ollama:NAME:TAG."
    )
    engine: str | None = Field(None, description="The engine that serves it; by the model when left out.")
    runtime: ServingRuntime | None = Field(
        None, description="Where the engine's programs are; a kept environment of its own when left out."
    )
    context: int = Field(2048, ge=16, le=10_000_000, description="Context of each request, in tokens.")
    slots: int = Field(2, ge=1, le=4096, description="Requests that a replica answers at once.")
    replicas: int = Field(1, ge=1, le=1000, description="Replicas, each a Slurm job.")
    resources: ServingResources = Field(
        default_factory=ServingResources, description="CPUs, memory, GPUs and time of one replica."
    )
    patience: Positive = Field(600.0, description="Seconds within which it must answer.")


class Target(Frozen):
    """What is measured: an address, or the gateway of the site."""

    api: Api = Field(
        "http",
        description="The kind of target. `http`: one request, one answer; `openai` and `ollama`: streamed chat.",
    )
    url: str | None = Field(
        None, description="Address, such as http://127.0.0.1:8080; the gateway when left out."
    )
    certificate: str | None = Field(
        None,
        description="A file with the certificate by which an https address is known, or with its authority's; the "
        "system's own when left out. The gateway's is known.",
    )
    token_variable: Variable | None = Field(
        None, description="Variable of the environment that holds the token; the gateway's own is known."
    )
    model: str | None = Field(None, description="The served model's name; for kinds that ask one.")
    deploy: Deploy | None = Field(
        None,
        description="Serve the model for this benchmark alone, under the name `model`, and stop it afterwards; what is "
        "there already is measured when left out.",
    )
    second: tuple[Second, ...] = Field(
        (),
        description="Tools on PATH that are asked for a second opinion after each run; they decide nothing.",
    )
    job: Resources | None = Field(
        None,
        description="Run it in a Slurm job of these resources; here when left out. For kinds without an address.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Target:
        if self.api in MODELS and not self.model:
            raise ValueError(f"a target of the api '{self.api}' needs 'model', the served model's name")
        if self.deploy is not None and (self.api not in MODELS or self.url is not None):
            raise ValueError("'deploy' is for kinds that ask a served model by the gateway, without 'url'")
        if self.job is not None and self.api in ("http", *MODELS, "s3", "scheduler", "pair"):
            raise ValueError(
                f"a target of the api '{self.api}' is no job: 'load.nodes' loads it from several nodes"
            )
        if self.url is not None:
            if self.api not in ADDRESSED:
                raise ValueError(f"a target of the api '{self.api}' has no address")
            if (port := _PORT.search(self.url)) is not None and int(port[1]) > 65_535:
                raise ValueError(f"'{self.url}' has the port {port[1]}; 65,535 is the highest")
            if not _ADDRESS.match(self.url):
                raise ValueError(
                    f"'{self.url}' is no address to be loaded: http:// or https://HOST:PORT is wanted, without a path"
                )
        elif self.api == "http":
            raise ValueError("a target of the api 'http' needs 'url', such as http://127.0.0.1:8080")
        return self


class Request(Frozen):
    """One HTTP request, the same each time."""

    method: Literal["GET", "POST", "PUT"] = Field("GET", description="Method.")
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = Field("/", description="Path and query.")
    body: str = Field("", description="Body of the request.")


class Prompts(Frozen):
    """Prompts made by a seeded generator: the same words in every run, each behind a number that no other run has."""

    words: int = Field(64, ge=1, le=100_000, description="Words of a prompt in the mean.")
    lengths: Literal["normal", "lognormal", "uniform"] = Field(
        "normal", description="How lengths are distributed; `lognormal` has few long ones, as people write."
    )
    spread: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="Standard deviation of the length, as a share of `words`."
    )
    file: str | None = Field(
        None,
        description="A text file with a prompt on each line, asked in turn; generated ones when left out.",
    )
    tokenizer: str = Field(
        "server",
        description="Who counts tokens beside the server: `server` asks its /tokenize, a path is a tokenizer.json "
        "of Hugging Face, `none` counts nothing.",
    )
    shared: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Share of `words` with which all prompts begin alike: what a prefix cache can save."
    )
    max_tokens: int = Field(64, ge=1, le=100_000, description="Tokens that an answer may have.")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0 is the same answer each time.")
    seed: int = Field(1, description="Seed of the generator.")


class Sections(Frozen):
    """What is asked of a target: the section that belongs to its api, and no other."""

    request: Request | None = Field(None, description="The request; for `http`.")
    prompts: Prompts | None = Field(None, description="The prompts; for `openai` and `ollama`.")
    texts: Texts | None = Field(None, description="The texts; for `embeddings`.")
    chain: Chain | None = Field(None, description="Questions, documents and answers; for `chain`.")
    objects: Objects | None = Field(None, description="Objects and what is done with them; for `s3`.")
    retrieval: Retrieval | None = Field(None, description="Vectors and queries; for `retrieval`.")
    sql: Sql | None = Field(None, description="Transactions; for `sql`.")
    fio: Fio | None = Field(None, description="Reads and writes; for `fio`.")
    metadata: Metadata | None = Field(None, description="Small files; for `metadata`.")
    checkpoint: Checkpoint | None = Field(None, description="The state that is saved; for `checkpoint`.")
    loader: Loader | None = Field(None, description="The samples that are read; for `loader`.")
    scheduler: Scheduler | None = Field(None, description="Jobs; for `scheduler`.")
    training: Training | None = Field(None, description="The training; for `training`.")
    collective: Collective | None = Field(None, description="Sizes and processes; for `collective`.")


class Part(Frozen):
    """One of two that are measured at once: as in a recipe of its own."""

    target: Target = Field(description="What is measured.")
    workload: Sections = Field(default_factory=Sections, description="What is asked of it.")
    load: Load = Field(description="How requests arrive.")

    @model_validator(mode="before")
    @classmethod
    def _with_its_section(cls, data: Any) -> Any:
        return with_section(data)


class Pair(Frozen):
    """Two targets, each alone and then both at once: what one does to the other."""

    first: Part = Field(description="One of them.")
    second: Part = Field(description="The other.")

    @model_validator(mode="after")
    def _is_no_pair_of_pairs(self) -> Pair:
        if "pair" in (self.first.target.api, self.second.target.api):
            raise ValueError("a pair is made of two that are none")
        return self


class Workload(Sections):
    """The same, with the one section that is made of two others."""

    pair: Pair | None = Field(None, description="What is measured at once; for `pair`.")


def with_section(data: Any) -> Any:
    """The workload's section is there with its defaults when nobody wrote it. Pure."""
    data = tuples(data)  # a result's recipe comes as JSON, which has lists only
    if not isinstance(data, dict) or not isinstance(data.get("target"), dict):
        return data
    section = SECTIONS.get(data["target"].get("api", "http"))
    workload = data.get("workload", {})
    # A section that is written without a value is a mistake of its own.
    if section is None or not isinstance(workload, dict) or workload.get(section, data) is None:
        return data
    return data | {"workload": {section: {}} | workload}
