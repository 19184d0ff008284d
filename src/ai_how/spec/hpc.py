"""The Slurm side of a site."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from ai_how.spec.nodes import Controller, NodeGroup
from ai_how.spec.provider import Existing, Libvirt, Provider
from ai_how.spec.values import Duration, Frozen, Name, Shape, Time

#: Slurm's names of partitions, QOS, accounts and users.
SlurmName = Annotated[
    str, Shape(r"[A-Za-z][A-Za-z0-9_-]*", "name for Slurm: a letter first, then letters, digits, '_' and '-'")
]
#: Accounts and users are lower case in Slurm's database.
AccountName = Annotated[
    str,
    Shape(r"[a-z][a-z0-9_.-]*", "account or user: a small letter first, then digits, '_', '.' and '-' too"),
]
#: The account of whoever brought a site up, and Slurm's own QOS: they are there without standing in the file.
SITE_ACCOUNT, NORMAL_QOS = "site", "normal"
Priority = Annotated[int, Field(ge=0, le=65533)]


def _off(value: Any) -> Any:
    # YAML 1.1 reads off without quotes as false.
    return "off" if value is False else value


PartitionMode = Annotated[
    Literal["off", "requeue", "cancel"],
    BeforeValidator(_off, json_schema_input_type=Literal["off", "requeue", "cancel", False]),
]


class Storage(Frozen):
    name: Name = Field(description="Name of the storage.")
    path: Annotated[str, Shape(r"/[^\s:]*", "absolute path without blanks, such as /home")] = Field(
        description="Where every node sees it: an absolute path."
    )
    type: Literal["local", "nfs"] = Field("nfs", description="On each node's own disk, or shared by NFS.")
    size_gb: Annotated[int, Field(ge=1)] | None = Field(None, description="Its size, in GiB.")
    server: str | None = Field(None, description="Host that exports it; the controller when left out.")


class Partition(Frozen):
    name: SlurmName = Field(description="Slurm's partition name.")
    nodes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many of the nodes it spans, from the first; all of them when left out."
    )
    groups: Annotated[tuple[Name, ...], Field(min_length=1)] | None = Field(
        None, description="Node groups that it spans; all of them when left out."
    )
    max_time: Time | None = Field(
        None, description="Time limit of this partition; max_job_time when left out."
    )
    default_time: Time | None = Field(
        None, description="Time limit of jobs that ask for none; default_job_time when left out."
    )
    qos: SlurmName | None = Field(None, description="QOS whose limits hold for this partition.")
    priority: Priority | None = Field(
        None, description="Jobs of a partition with more priority start first (PriorityTier)."
    )
    preempt_mode: PartitionMode | None = Field(
        None,
        description="What happens to its jobs that are to make room; off: they never are. Else preemption.mode.",
    )
    grace_time: Duration | None = Field(
        None,
        description="How long its jobs go on when they are to make room (GraceTime); not at all when left out.",
    )


def _partition(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Qos(Frozen):
    name: SlurmName = Field(description="Slurm's name of the QOS.")
    priority: Priority = Field(0, description="Adds to the priority of its jobs.")
    max_time: Time | None = Field(None, description="Longest time limit of its jobs.")
    max_jobs_per_user: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many jobs of one user may run."
    )
    max_gpus_per_user: Annotated[int, Field(ge=0)] | None = Field(
        None, description="How many GPUs the running jobs of one user may hold."
    )
    preempt: tuple[SlurmName, ...] = Field((), description="QOS whose jobs make room for its own.")
    grace_time: Duration | None = Field(
        None,
        description="How long its jobs go on when they are to make room (GraceTime); not at all when left out.",
    )


class Account(Frozen):
    name: AccountName = Field(description="Slurm's name of the account.")
    parent: AccountName | None = Field(None, description="Account above it; root when left out.")
    users: tuple[AccountName, ...] = Field((), description="Users who may charge it.")
    qos: tuple[SlurmName, ...] = Field((), description="QOS that its jobs may ask for.")
    fairshare: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Its share beside its neighbours."
    )


class Accounting(Frozen):
    enabled: bool = Field(True, description="Keep the records of jobs in slurmdbd; accounts and QOS need it.")
    retention_days: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Days after which records are purged; never when left out."
    )


class Preemption(Frozen):
    type: Literal["none", "partition", "qos"] = Field(
        "none",
        description="Who makes room: jobs of partitions with less priority, or of a QOS named in preempt.",
    )
    mode: Literal["requeue", "suspend", "cancel"] = Field(
        "requeue", description="What happens to a job that makes room."
    )
    send_user_signal: bool = Field(
        False,
        description="Whether a job gets the signal that it asked for (sbatch --signal) when it is chosen to make room.",
    )


class SlurmConfig(Frozen):
    partitions: tuple[
        Annotated[Partition, BeforeValidator(_partition, json_schema_input_type=str | Partition)], ...
    ] = Field(
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
    qos: tuple[Qos, ...] = Field((), description="Qualities of service: priority, limits, preemption.")
    accounts: tuple[Account, ...] = Field((), description="Accounts that jobs are charged to.")
    accounting: Accounting = Field(default_factory=Accounting, description="Slurm's records of jobs.")
    preemption: Preemption = Field(
        default_factory=Preemption, description="Whether jobs make room for others."
    )


#: One mapping, or a list of them. Tags in angle brackets never show: no key of the file looks like them.
def _one_or_several(value: Any) -> str:
    return "<groups>" if isinstance(value, list | tuple) else "<group>"


ComputeNodes = Annotated[
    Annotated[NodeGroup, Tag("<group>")]
    | Annotated[tuple[NodeGroup, ...], Field(min_length=1), Tag("<groups>")],
    Discriminator(_one_or_several),
]


class HpcCluster(Frozen):
    provider: Provider = Field("local", description="What brings the machines into being.")
    libvirt: Libvirt | None = Field(None, description="Settings of the provider libvirt.")
    existing: Existing | None = Field(None, description="Settings of the provider existing.")
    controller: Controller = Field(default_factory=Controller, description="The node that runs slurmctld.")
    compute_nodes: ComputeNodes = Field(
        (),
        description="The nodes that run jobs: one group, or a list of groups, each with a name. "
        "Of a cluster that exists Slurm itself tells, and this may be left out.",
    )
    storage: tuple[Storage, ...] = Field((), description="Storage that every node sees.")
    slurm_config: SlurmConfig = Field(default_factory=SlurmConfig, description="Partitions and limits.")

    @property
    def groups(self) -> tuple[NodeGroup, ...]:
        """The groups of compute nodes; one without a name where the file has a single mapping."""
        return (self.compute_nodes,) if isinstance(self.compute_nodes, NodeGroup) else self.compute_nodes

    @property
    def node_names(self) -> tuple[str, ...]:
        """Every compute node, group after group."""
        return tuple(name for group in self.groups for name in group.node_names)

    @property
    def default_partition(self) -> str:
        return self.slurm_config.default_partition or self.slurm_config.partitions[0].name

    def nodes_of(self, partition: Partition) -> tuple[str, ...]:
        """The nodes that a partition spans: those of its groups, the first ``nodes`` of them."""
        names = tuple(
            name
            for group in self.groups
            if partition.groups is None or group.name in partition.groups
            for name in group.node_names
        )
        return names[: partition.nodes]
