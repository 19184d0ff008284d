"""The types of ``cluster.yaml``, version 1.0."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ai_how.spec import walltime

#: Names become host names, folder names, Slurm partitions and SQL names: the narrowest of these rules them all.
NAME = re.compile(r"^[a-z][a-z0-9-]{0,30}$")


def _name(value: str) -> str:
    if not NAME.match(value):
        raise ValueError(
            f"'{value}' cannot be a name: a lower-case letter first, then letters, digits and '-', "
            "31 characters at most"
        )
    return value


def _time(value: str) -> str:
    walltime.seconds(value)
    return value


def _quoted_time(value: Any) -> Any:
    # YAML 1.1 reads 24:00:00 without quotes as the number 86400 (base 60); 1.2 keeps it text. Take minutes too.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, AfterValidator(_name)]
Time = Annotated[str, BeforeValidator(_quoted_time), AfterValidator(_time)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Frozen(BaseModel):
    """Unknown keys are mistakes, and values never change after parsing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Metadata(Frozen):
    name: Name = Field(description="Names the site and its folder.")
    description: str = Field("", description="One line about the site.")


class Global(Frozen):
    telemetry: bool = Field(
        False, description="Let the components report home. Off: every component's telemetry is switched off."
    )


class Device(Frozen):
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.]*$")] = Field(
        description="Type of the GPU as Slurm's GRES names it, such as a100."
    )
    count: int = Field(1, ge=1, le=16, description="How many of them each node has.")


class Controller(Frozen):
    cpu_cores: int = Field(1, ge=1, description="CPUs set aside for the Slurm controller.")
    memory_gb: int = Field(1, ge=1, description="Memory set aside for the Slurm controller, in GiB.")


class ComputeNodes(Frozen):
    count: int = Field(ge=1, le=1000, description="How many nodes, named node01 and so on.")
    cpu_cores: int = Field(ge=1, le=1024, description="CPUs of each node.")
    memory_gb: int = Field(ge=1, description="Memory of each node, in GiB.")
    devices: tuple[Device, ...] = Field((), description="GPUs of each node; simulated by the local provider.")

    @model_validator(mode="after")
    def _models_differ(self) -> ComputeNodes:
        models = [device.model for device in self.devices]
        for model in models:
            if models.count(model) > 1:
                raise ValueError(f"device model '{model}' is listed more than once; add up its count")
        return self


class Partition(Frozen):
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = Field(
        description="Slurm's partition name."
    )
    nodes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many of the nodes it spans, from the first; all of them when left out."
    )
    max_time: Time | None = Field(
        None, description="Time limit of this partition; max_job_time when left out."
    )


def _partition(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class SlurmConfig(Frozen):
    partitions: tuple[Annotated[Partition, BeforeValidator(_partition)], ...] = Field(
        (Partition(name="main"),),
        min_length=1,
        description="Partitions: a name, or a mapping with its limits.",
    )
    default_partition: str | None = Field(
        None, description="Partition of jobs that name none; the first one."
    )
    max_job_time: Time = Field(
        "24:00:00", description="The longest time limit of a job, in Slurm's notation."
    )
    default_job_time: Time = Field("01:00:00", description="Time limit of jobs that ask for none.")


class HpcCluster(Frozen):
    provider: Literal["local"] = Field("local", description="What brings the machines into being.")
    controller: Controller = Field(default_factory=Controller, description="The node that runs slurmctld.")
    compute_nodes: ComputeNodes = Field(description="The nodes that run jobs.")
    slurm_config: SlurmConfig = Field(default_factory=SlurmConfig, description="Partitions and limits.")

    @property
    def default_partition(self) -> str:
        return self.slurm_config.default_partition or self.slurm_config.partitions[0].name


class PostgreSQL(Frozen):
    port: Port | None = Field(None, description="TCP port on loopback; one is chosen and kept when left out.")


class ObjectStore(Frozen):
    port: Port | None = Field(
        None, description="Port of the S3 API on loopback; chosen and kept when left out."
    )


class MLflow(Frozen):
    port: Port | None = Field(None, description="Port of the MLflow server; chosen and kept when left out.")


class Gateway(Frozen):
    port: Port | None = Field(None, description="Port of the gateway; chosen and kept when left out.")


class CloudServices(Frozen):
    postgresql: PostgreSQL = Field(default_factory=PostgreSQL, description="The database behind MLflow.")
    object_store: ObjectStore = Field(default_factory=ObjectStore, description="SeaweedFS, speaking S3.")
    mlflow: MLflow = Field(default_factory=MLflow, description="Runs, metrics and the model registry.")
    gateway: Gateway = Field(default_factory=Gateway, description="The one door to the served models.")


class CloudCluster(Frozen):
    provider: Literal["local"] = Field("local", description="What brings the services into being.")
    services: CloudServices = Field(default_factory=CloudServices, description="The MLOps services.")


class Clusters(Frozen):
    hpc: HpcCluster = Field(description="The Slurm side.")
    cloud: CloudCluster = Field(default_factory=CloudCluster, description="The side of the services.")


class SiteSpec(Frozen):
    version: Literal["1.0"] = Field(description="Version of this file's shape, in quotes.")
    metadata: Metadata = Field(description="Name and description.")
    global_: Global = Field(
        default_factory=Global, alias="global", description="What concerns both clusters."
    )
    clusters: Clusters = Field(description="The two sides of the site.")

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(f"node{index:02d}" for index in range(1, self.clusters.hpc.compute_nodes.count + 1))
