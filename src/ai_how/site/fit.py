"""Which of a cluster's GPUs a model fits, from its own files and the cluster's own GRES. Starts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ai_how.services.nodes import EmulatedNode, nodes_of
from ai_how.serving.fit import Fit, Gres, choose, gres_memory, read_shape
from ai_how.serving.fit.model import GB
from ai_how.site import work
from ai_how.site.control import Site

_SIMULATED = (
    "The GPUs of the provider local are simulated: they are given out, but the engine computes on CPUs."
)


def fit(site: Site, reference: str, *, name: str | None = None, context: int = 2048, slots: int = 2) -> Fit:
    """What a replica of a model would need, and the smallest that has it.

    A path is read where it is; a registered model that is not on the site's share yet is brought there. Raises
    :class:`NotFound` for a model that does not exist, :class:`AiHowError` for one that does not tell its size.
    """
    given = Path(reference)
    path = given if given.suffix == ".gguf" else work.model_folder(site, reference)
    usual = path.stem if path == given else given.resolve().name if given.is_dir() else _registered(reference)
    nodes = tuple(nodes_of(site.file.spec, site.gpus))
    memories = [node.memory_gb * GB for node in nodes]
    gres = tuple(gres_of(nodes))
    found = choose(name or usual, read_shape(path), context, slots, gres, memories)
    if gres and site.file.spec.clusters.hpc.provider == "local":
        found = replace(found, remarks=(*found.remarks, _SIMULATED))
    return found


def gres_of(nodes: Iterable[EmulatedNode]) -> Iterator[Gres]:
    """Slurm's types of GPU that the nodes have, by name, and how many of each one node has at most."""
    most: dict[str, int] = {}
    for node in nodes:
        for kind, count in node.devices.items():
            most[kind] = max(count, most.get(kind, 0))
    for kind in sorted(most):
        memory, is_slice = gres_memory(kind)
        yield Gres(kind, memory, most[kind], is_slice)


def _registered(reference: str) -> str:
    """The name in NAME, NAME:VERSION or NAME@ALIAS."""
    return reference.partition("@")[0].partition(":")[0]
