"""What brings a cluster's machines into being, and what each kind of provider has to know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ai_how.spec.values import Frozen, Port, Shape

Provider = Literal["local", "libvirt", "existing"]
Text = Annotated[str, Field(min_length=1)]


class Libvirt(Frozen):
    uri: Text = Field("qemu:///system", description="Which libvirt, as `virsh --connect` takes it.")
    pool: Text = Field("default", description="Storage pool of the machines' disks.")
    image: Text | None = Field(
        None, description="Cloud image (qcow2) that every disk begins as; Debian's when left out."
    )
    cpu_mode: Literal["host-passthrough", "host-model"] = Field(
        "host-passthrough", description="What the machines see of this machine's CPU."
    )
    autostart: bool = Field(False, description="Whether the machines start with this machine.")


#: A host as ssh takes it: a name, an address, or an alias of the user's own configuration.
HostName = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}", "host: a name, an address or an alias of SSH")
]
#: A jump host may have a user and a port, and there may be several, with commas between.
JumpHost = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9._@:,\[\]-]{0,252}", "jump host, such as user@gate.example.org")
]
UserName = Annotated[str, Shape(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}", "user name")]
#: A path as a shell there would take it, without what a shell would read otherwise.
FarPath = Annotated[
    str, Shape(r"(~|~?/[\w.+@:,=/-]*)", "absolute path there (or one from ~) without blanks and quotes")
]
#: Names that a centre gives: accounts, QOS, partitions, reservations; several with commas between.
CentresName = Annotated[str, Shape(r"[A-Za-z0-9][A-Za-z0-9_.,@+-]{0,127}", "name that a centre gives")]
Feature = Annotated[
    str, Shape(r"[A-Za-z0-9(\[][A-Za-z0-9_.,&|*()\[\]-]{0,127}", "constraint of Slurm, such as a100 or a|b")
]
ModuleName = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9_.+/-]{0,127}", "module, such as env/release/2023.1")
]
Bind = Annotated[
    str, Shape(r"/[\w.+@=/-]*(:/[\w.+@=/-]*(:(ro|rw))?)?", "bind path: /FROM, /FROM:/TO or /FROM:/TO:ro")
]
SbatchOption = Annotated[
    str,
    Shape(
        r"[a-z][a-z-]{1,39}(=[A-Za-z0-9_.,:;@%+/*()\[\]-]{1,200})?",
        "option of sbatch, NAME or NAME=VALUE without dashes in front",
    ),
]


class ExistingJobs(Frozen):
    """What every job there is submitted with. A recipe or a command that says otherwise of one of them is obeyed."""

    account: CentresName | None = Field(
        None, description="Account that jobs are charged to; Slurm's default when left out."
    )
    qos: CentresName | None = Field(None, description="QOS of jobs; Slurm's default when left out.")
    partition: CentresName | None = Field(
        None, description="Partition of jobs that name none; Slurm's default when left out."
    )
    constraint: Feature | None = Field(None, description="Features that the nodes must have (--constraint).")
    reservation: CentresName | None = Field(None, description="Reservation that jobs run in.")
    modules: tuple[ModuleName, ...] = Field((), description="Environment modules that every job loads first.")
    bind: tuple[Bind, ...] = Field(
        (), description="Paths that an image sees besides the site's folder there."
    )
    gpu: Annotated[str, Shape(r"[a-z0-9][a-z0-9_.]*", "type of GPU, such as a100")] | None = Field(
        None, description="What the GPUs are where Slurm's GRES has no types: gpu:4 and not gpu:a100:4."
    )
    options: tuple[SbatchOption, ...] = Field(
        (), description="Further options of sbatch, such as mail-type=FAIL."
    )


class ExistingEnvironment(Frozen):
    name: Annotated[str, Shape(r"[a-z][a-z0-9.-]{0,30}", "runtime environment, such as llama-cpp")] = Field(
        description="The runtime environment that it stands for."
    )
    path: FarPath = Field(description="The folder there that holds bin/python.")


class Existing(Frozen):
    host: HostName = Field(
        description="Where the cluster's commands run: a host that SSH reaches; localhost for here."
    )
    user: UserName | None = Field(None, description="User on that host; SSH's own choice when left out.")
    port: Port | None = Field(None, description="Port of SSH there; SSH's own choice when left out.")
    identity_file: Text | None = Field(None, description="Private key for SSH, by its path.")
    jump_host: JumpHost | None = Field(None, description="Host that SSH goes through (`ssh -J`).")
    config_file: Text | None = Field(
        None, description="Configuration of SSH, by its path; ~/.ssh/config when left out."
    )
    folder: FarPath | None = Field(
        None,
        description="Folder there that every node sees, for this site alone; ~/.ai-how/NAME when left out.",
    )
    commands: FarPath | None = Field(
        None, description="Folder of Slurm's commands there, where they are not on the PATH that SSH gives."
    )
    slurm_conf: FarPath | None = Field(
        None, description="Configuration of Slurm's commands there (SLURM_CONF), where they must be told."
    )
    jobs: ExistingJobs = Field(
        default_factory=ExistingJobs, description="What every job there is submitted with."
    )
    environments: tuple[ExistingEnvironment, ...] = Field(
        (), description="Runtime environments that are there already, each by a name of its own."
    )
    build: bool = Field(
        False,
        description="Make the runtime environments that are missing there, with the cluster's own Python.",
    )
    poll_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        5, description="How often Slurm there is asked about our jobs, at the most."
    )
    kubeconfig: Text | None = Field(None, description="kubeconfig of a Kubernetes cluster, by its path.")
