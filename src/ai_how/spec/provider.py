"""What brings a cluster's machines into being, and what each kind of provider has to know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ai_how.spec.values import Frozen, Port

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


class Existing(Frozen):
    host: Text = Field(
        description="Where the cluster's commands run: a host that SSH reaches; localhost for here."
    )
    user: Text | None = Field(None, description="User on that host; SSH's own choice when left out.")
    port: Port = Field(22, description="Port of SSH there.")
    identity_file: Text | None = Field(None, description="Private key for SSH, by its path.")
    jump_host: Text | None = Field(None, description="Host that SSH goes through (`ssh -J`).")
    folder: Text | None = Field(
        None, description="Folder there that every node sees; the home folder when left out."
    )
    kubeconfig: Text | None = Field(None, description="kubeconfig of a Kubernetes cluster, by its path.")
