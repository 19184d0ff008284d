"""How much memory a replica needs, and the smallest device that has it. Pure.

The formulas are llama.cpp's, and a test holds them against what its own log says:

- cache: cells x layers x (keys + values) x 2 bytes, where every request has a cell a token, rounded up to 256
  (``src/llama-kv-cache.cpp``, ``src/llama-context.cpp``). A model with a sliding window needs less.
- compute: 512 tokens at once (``n_ubatch``), for each the scores of the whole vocabulary and its vector, or the
  feed-forward part, whichever is more, in 32 bits; and the mask of 512 tokens against the context, in 16 bits.
- runtime: what a process has before it has loaded anything; on a GPU, CUDA's context and its libraries' workspace.
  Both are estimates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ai_how.gpu.catalogue import kind_of
from ai_how.serving.fit.model import GB, Considered, Fit, Gres, Need, Shape

_BATCH = 512
_CELLS = 256
_CPU_RUNTIME = 200_000_000
_GPU_RUNTIME = 600_000_000
# Drivers report between 0.95 and 1.06 of what stands in a profile's or a product's name.
_USABLE = 0.95
_SLICE = re.compile(r"(?:^|_)\d+g\.(\d+)gb")


def need(shape: Shape, context: int, slots: int, *, gpu: bool) -> Need:
    """The memory of one replica that answers ``slots`` requests at once, each with ``context`` tokens."""
    cells = math.ceil(context / _CELLS) * _CELLS
    widest = max(shape.vocabulary + shape.width, 2 * shape.inner + 8 * shape.width)
    return Need(
        weights=shape.weights,
        cache=cells * slots * sum(shape.cache) * 2,
        compute=_BATCH * widest * 4 + _BATCH * cells * 2,
        runtime=_GPU_RUNTIME if gpu else _CPU_RUNTIME,
    )


def gres_memory(kind: str) -> tuple[int | None, bool]:
    """The usable bytes of one of Slurm's types of GPU, and whether it is a slice. None when it is not known."""
    if found := _SLICE.search(kind):
        return int(int(found[1]) * GB * _USABLE), True
    known = kind_of(kind)
    return (int(known.memory_gb * GB * _USABLE) if known and known.memory_gb else None), False


def choose(
    model: str, shape: Shape, context: int, slots: int, gres: Sequence[Gres], nodes: Iterable[int]
) -> Fit:
    """The smallest that holds a replica: a slice or a device of ``gres``, or several devices of one node.

    Where there are no GPUs at all, the node with the least memory that holds it; ``nodes`` are their bytes.
    """
    asked = need(shape, context, slots, gpu=bool(gres))
    if gres:
        considered = tuple(sorted(_devices(asked, gres), key=lambda one: (one.memory, one.gres)))
    else:
        considered = tuple(_node(asked, memory) for memory in sorted(set(nodes)))
    remarks = [
        f"The memory of {one.type} is not known, so it was left out." for one in gres if not one.memory
    ]
    if not gres:
        remarks.append("The cluster has no GPUs: the replica runs on CPUs, in a node's memory.")
    if shape.context and context > shape.context:
        remarks.append(f"It was trained for {shape.context} tokens; beyond them answers get worse.")
    chosen = next((one for one in considered if one.holds), None)
    return Fit(model, shape, context, slots, asked, considered, chosen, tuple(remarks))


def _devices(asked: Need, gres: Sequence[Gres]) -> Iterable[Considered]:
    for one in gres:
        if one.memory is None:
            continue
        count = _count(asked, one)
        memory = one.memory * count
        # Weights and cache are divided by layers; the rest each device has for itself.
        free = memory - asked.weights - asked.cache - count * (asked.compute + asked.runtime)
        name = f"{count} x {one.type}" if count > 1 else one.type
        yield Considered(f"gpu:{one.type}:{count}", memory, free, _why(name, memory, free))


def _count(asked: Need, one: Gres) -> int:
    """How many of these devices it takes, as far as one node has them; a slice is always one."""
    room = (one.memory or 0) - asked.compute - asked.runtime
    if one.slice or room <= 0:
        return 1
    return max(1, min(one.most, math.ceil((asked.weights + asked.cache) / room)))


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
