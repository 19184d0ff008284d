"""What the file asks for against what this machine has. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ai_how.errors import AiHowError, Problem, SpecError
from ai_how.gpu.allocation import Allocation
from ai_how.host.inventory import Inventory
from ai_how.host.machine import Machine
from ai_how.services import Layout
from ai_how.services.nodes import EmulatedNode, given, nodes_of
from ai_how.slurm.render import hostlist
from ai_how.spec import SiteFile
from ai_how.spec.check_host import check_host, shared_by

GIB = 2**30
#: A Unix socket's path has 107 characters at most (unix(7)); this is the longest that a site adds to its folder.
SOCKET_LIMIT = 107
LONGEST_SOCKET = "run/postgresql/.s.PGSQL.65535.lock"
#: What a path may not hold: letters of any script may stand in it, blanks and signs of quoting may not.
UNFIT = re.compile(r"[^\w./+@:~-]")
#: Databases, an object store and a few models: less than this is no place for a site. In bytes.
DISK_NEEDED = 2 * GIB

_NODES = ("clusters", "hpc", "compute_nodes")


def warnings(file: SiteFile, inventory: Inventory, gpus: Allocation) -> list[str]:
    """Emulation oversubscribes: allowed, but whoever reads figures from it should know.

    Only the provider local emulates: virtual machines have checks of their own, and a cluster elsewhere shares nothing.
    """
    if file.spec.clusters.hpc.provider != "local":
        return []
    nodes, controller = list(nodes_of(file.spec, gpus)), file.spec.clusters.hpc.controller
    found = []
    cpus = sum(node.cpus for node in nodes)
    if cpus > inventory.cpus:
        found.append(
            f"{file.where(*_NODES, 'cpu_cores')}: {_counted(nodes)} are {cpus}, "
            f"this machine has {inventory.cpus}: jobs share them"
        )
    if not inventory.loopback_name:
        found.append(
            f"the name of this machine, {inventory.hostname}, does not resolve to 127.0.0.1, so Slurm's "
            f"daemons listen on every interface (they answer only to the site's own key); a line "
            f"'127.0.0.1 {inventory.hostname}' in /etc/hosts keeps them on loopback"
        )
    memory = sum(node.memory_gb for node in nodes) + controller.memory_gb
    if memory * GIB > inventory.memory:
        found.append(
            f"{file.where(*_NODES, 'memory_gb')}: the nodes and the controller have {memory} GiB of memory, "
            f"this machine has {inventory.memory // GIB} GiB: jobs share it"
        )
    return [*found, *_without_gpus(file, gpus)]


def _without_gpus(file: SiteFile, gpus: Allocation) -> Iterator[str]:
    """Nodes that are to have GPUs, where there are fewer slices and devices than nodes."""
    several = isinstance(file.spec.clusters.hpc.compute_nodes, tuple)
    for index, group in enumerate(file.spec.clusters.hpc.groups):
        none = [
            name
            for name in group.node_names
            if group.gpu_enabled and not group.devices and not given(gpus, name)
        ]
        if none:
            where = file.where(*_NODES, *((index,) if several else ()), "gpu_enabled")
            yield f"{where}: {hostlist(none)}: no GPU is left for what is gpu_enabled here"


def _counted(nodes: Sequence[EmulatedNode]) -> str:
    sizes = Counter(node.cpus for node in nodes)
    return " and ".join(f"{count} nodes of {cpus} CPUs" for cpus, count in sizes.items())


def on_machine(file: SiteFile, machine: Machine) -> Iterator[Problem]:
    """What a machine cannot give to the virtual machines and networks that are made on it."""
    routes = [(route.network, route.interface) for route in machine.routes or ()]
    gpus = None if machine.gpus is None else [gpu.pci_address for gpu in machine.gpus]
    memory = None if machine.memory_gb is None else int(machine.memory_gb)
    for path, message, todo in check_host(file.spec, routes=routes, pci_addresses=gpus, memory_gb=memory):
        yield file.problem(path, message, todo)


def shared_on(file: SiteFile, machine: Machine) -> Iterator[str]:
    """What virtual machines share though the file gives it to each, each with its place."""
    cpus = machine.cpus.threads if machine.cpus else None
    disk = None if machine.disk_free_gb is None else int(machine.disk_free_gb)
    for path, message, _ in shared_by(file.spec, cpus=cpus, disk_gb=disk):
        yield f"{file.where(*path)}: {message}"


def refuse(file: SiteFile, layout: Layout, inventory: Inventory, gpus: Allocation) -> None:
    """Raises what would make ``up`` fail half way."""
    own = file.spec.clusters.hpc.provider == "local"
    wanted = max((sum(node.devices.values()) for node in nodes_of(file.spec, gpus)), default=0)
    if own and wanted > len(inventory.devices):
        raise SpecError(
            [
                file.problem(
                    (*_NODES, "devices"),
                    f"{wanted} simulated devices a node are asked for, this machine has character devices "
                    f"for {len(inventory.devices)}",
                    "Ask for fewer: Slurm wants a character device behind each.",
                )
            ]
        )
    unfit = sorted(set(UNFIT.findall(str(layout.root))))
    if unfit:
        raise AiHowError(
            f"the site's folder has a path with {' '.join(map(repr, unfit))} in it",
            where=str(layout.root),
            cause="Slurm and supervisord read their paths from files in which such characters mean something else",
            todo="Choose another folder with --root.",
        )
    if len(str(layout.root / LONGEST_SOCKET)) > SOCKET_LIMIT:
        longest = SOCKET_LIMIT - len(LONGEST_SOCKET) - 1
        raise AiHowError(
            f"the site's folder has too long a path: {len(str(layout.root))} characters, {longest} are possible",
            where=str(layout.root),
            cause="its Unix sockets lie there, whose paths the kernel limits to 107 characters",
            todo="Choose a shorter folder with --root.",
        )
    if inventory.disk_free < DISK_NEEDED:
        raise AiHowError(
            f"the disk has too little room: {inventory.disk_free / GIB:.1f} GiB are free, a site needs "
            f"{DISK_NEEDED // GIB} GiB to begin with",
            where=str(layout.root),
            todo="Free some space, or choose another disk with --root.",
        )
