"""The smallest device that has the memory that a replica needs. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ai_how.gpu.catalogue import kind_of
from ai_how.serving.fit.model import GB, Considered, Fit, Gres, Need, Shape
from ai_how.serving.fit.need import divides_layers, need, share

# Drivers report between 0.95 and 1.06 of what stands in a profile's or a product's name.
_USABLE = 0.95
_SLICE = re.compile(r"(?:^|_)\d+g\.(\d+)gb")


#: What GPUs are called that Slurm gives no type.
UNTYPED = "a GPU without a type"


def gres_memory(kind: str) -> tuple[int | None, bool]:
    """The usable bytes of one of Slurm's types of GPU, and whether it is a slice. None when it is not known."""
    if found := _SLICE.search(kind):
        return int(int(found[1]) * GB * _USABLE), True
    known = kind_of(kind)
    return (int(known.memory_gb * GB * _USABLE) if known and known.memory_gb else None), False


def choose(
    model: str,
    shape: Shape,
    context: int,
    slots: int,
    gres: Sequence[Gres],
    nodes: Iterable[int],
    *,
    engine: str = "llama.cpp",
) -> Fit:
    """The smallest that holds a replica: a slice or a device of ``gres``, or several devices of one node.

    Where there are no GPUs at all, the node with the least memory that holds it; ``nodes`` are their bytes.
    """
    asked = need(shape, context, slots, gpu=bool(gres), engine=engine)
    if gres:
        found = (_device(asked, one, shape.heads, engine) for one in gres if one.memory)
        considered = tuple(sorted(found, key=lambda one: (one.memory, one.gres)))
    else:
        considered = tuple(_node(asked, memory) for memory in sorted(set(nodes)))
    remarks = [
        f"The memory of {one.type or UNTYPED} is not known, so it was left out."
        for one in gres
        if not one.memory
    ]
    if not gres:
        remarks.append("The cluster has no GPUs: the replica runs on CPUs, in a node's memory.")
    if not gres and engine == "vllm":
        remarks.append("vLLM is made for GPUs; its build for CPUs is another one.")
    if shape.context and context > shape.context:
        remarks.append(f"It was trained for {shape.context} tokens; beyond them answers get worse.")
    chosen = next((one for one in considered if one.holds), None)
    return Fit(model, shape, context, slots, asked, considered, chosen, tuple(remarks), engine)


def _device(asked: Need, one: Gres, heads: int, engine: str) -> Considered:
    usable = int((one.memory or 0) * share(engine))
    count = _count(asked, one, usable, heads if divides_layers(engine) else 0)
    # Weights and cache are divided among devices; the rest each has for itself.
    free = usable * count - asked.weights - asked.cache - count * (asked.compute + asked.runtime)
    name = f"{count} x {one.type or UNTYPED}" if count > 1 else one.type or UNTYPED
    gres = f"gpu:{one.type}:{count}" if one.type else f"gpu:{count}"
    return Considered(gres, usable * count, free, _why(name, usable * count, free))


def _count(asked: Need, one: Gres, usable: int, heads: int) -> int:
    """How many of these devices it takes, as far as one node has them; a slice is always one.

    Where each layer is divided, only as many as ``heads`` can be divided by.
    """
    room = usable - asked.compute - asked.runtime
    if one.slice or room <= 0:
        return 1
    counts = [count for count in range(1, one.most + 1) if not heads or heads % count == 0]
    wanted = math.ceil((asked.weights + asked.cache) / room)
    return next((count for count in counts if count >= wanted), counts[-1] if counts else 1)


def _node(asked: Need, memory: int) -> Considered:
    free = memory - asked.total
    return Considered(None, memory, free, _why(f"a node with {gigabytes(memory)}", memory, free))


def _why(name: str, memory: int, free: int) -> str:
    if free < 0:
        return f"{name} is {gigabytes(-free)} too small"
    return f"{name} holds it: of {gigabytes(memory)}, {gigabytes(free)} stay free"


def gigabytes(count: int) -> str:
    """A size as people read it: GB of 10^9, MB below a tenth of one."""
    return f"{count / GB:.1f} GB" if count >= GB / 10 else f"{count / 10**6:.1f} MB"
