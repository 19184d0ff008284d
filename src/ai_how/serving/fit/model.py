"""What is known of a model's size, of the devices there are, and what came of comparing the two. Pure.

Sizes are in bytes, and told in GB of 10^9, as on a GPU's box.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

GB = 10**9


@dataclass(frozen=True)
class Shape:
    """What a model's own files tell of it.

    ``weights`` are bytes as the engine loads them. ``cache`` has for each layer how many numbers the cache of
    keys and values keeps of one token. ``width``, ``inner`` and ``vocabulary`` are the lengths of a token's
    vector, of the feed-forward part's, and of the list of scores. ``context`` is what it was trained for. ``heads`` is
    how many parts attention has (0: not told); an engine that divides each layer among devices divides these.
    ``quantisation`` is the method by which weights were made smaller, where config.json names one.
    """

    architecture: str
    weights: int
    cache: tuple[int, ...]
    width: int
    inner: int
    vocabulary: int
    context: int | None = None
    heads: int = 0
    quantisation: str = ""


@dataclass(frozen=True)
class Need:
    """The memory of one replica: weights, cache of keys and values, the engine's working memory, its runtime's."""

    weights: int
    cache: int
    compute: int
    runtime: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.compute + self.runtime


@dataclass(frozen=True)
class Gres:
    """One of Slurm's types of GPU: usable ``memory`` of each (None: not known), ``most`` of them on one node.

    A ``slice`` cannot be joined with another: a process sees one MIG instance at most.
    """

    type: str
    memory: int | None
    most: int
    slice: bool = False


@dataclass(frozen=True)
class Considered:
    """One way to hold a replica, and what was found. ``free`` is what would stay; below 0, what lacks."""

    gres: str | None
    memory: int
    free: int
    why: str

    @property
    def holds(self) -> bool:
        return self.free >= 0


@dataclass(frozen=True)
class Fit:
    """What a replica needs, and the smallest that has it (None: nothing has).

    ``partition`` is the one to name where Slurm's default one does not have it.
    """

    model: str
    shape: Shape
    context: int
    slots: int
    need: Need
    considered: tuple[Considered, ...]
    chosen: Considered | None
    remarks: tuple[str, ...] = ()
    engine: str = "llama.cpp"
    partition: str | None = None

    @property
    def devices(self) -> int:
        """How many GPUs or slices the chosen one is; 0 for CPUs."""
        gres = self.chosen.gres if self.chosen else None
        return int(gres.rpartition(":")[2]) if gres else 0

    def as_json(self) -> dict[str, object]:
        """The same facts for ``--json``."""

        def entry(one: Considered) -> dict[str, object]:
            return asdict(one) | {"holds": one.holds}

        return {
            "model": self.model,
            "engine": self.engine,
            "architecture": self.shape.architecture,
            "quantisation": self.shape.quantisation or None,
            "trained_context": self.shape.context,
            "context": self.context,
            "slots": self.slots,
            "bytes": asdict(self.need) | {"total": self.need.total},
            "partition": self.partition,
            "chosen": entry(self.chosen) if self.chosen else None,
            "considered": [entry(one) for one in self.considered],
            "remarks": list(self.remarks),
        }
