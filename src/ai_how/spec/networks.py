"""The networks of a site."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ai_how.spec.values import Address, AddressRange, Frozen, Shape, Subnet

#: What the kernel takes for the name of an interface: 15 characters, no slash, no blank.
Interface = Annotated[
    str,
    Shape(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", "name of a bridge: letters, digits, '_', '.', '-', at most 15"),
]


class Network(Frozen):
    subnet: Subnet = Field(description="Its IPv4 addresses, such as 192.168.100.0/24.")
    bridge: Interface | None = Field(
        None, description="Bridge on this machine that its virtual machines are attached to."
    )
    gateway: Address | None = Field(
        None, description="Address of the way out; the first of the subnet when left out."
    )
    dns: tuple[Address, ...] = Field((), description="Name servers of its nodes.")
    dhcp_range: AddressRange | None = Field(
        None, description="Addresses that are leased, such as 192.168.100.100-200; none when left out."
    )


class Networks(Frozen):
    hpc_network: Network | None = Field(None, description="Network of the Slurm side.")
    cloud_network: Network | None = Field(None, description="Network of the cloud side.")
