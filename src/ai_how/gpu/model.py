"""Kinds of GPU, devices, slices, demands and placements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: What a demand may ask of its slices: as few devices as possible, or as many as there are.
Spreading = Literal["packed", "spread"]


@dataclass(frozen=True)
class Profile:
    """A MIG profile of one kind of GPU.

    It takes ``compute`` of the kind's compute slices, and ``size`` memory slices from one of ``starts`` on. ``maximum``
    of it fit on one device; ``id`` is the number that ``nvidia-smi mig`` and NVML know it by; ``memory_gb`` is the
    number in its name.
    """

    name: str
    compute: int
    size: int
    starts: tuple[int, ...]
    maximum: int
    id: int
    memory_gb: int
    #: Whether it holds the media engines, of which a device has one set (``+me``).
    media: bool = False
    #: Decoders and encoders that it takes, where a kind's own are counted (``Kind.engines``).
    engines: int = 0


@dataclass(frozen=True)
class Kind:
    """A kind of GPU. ``products`` are the names that NVML reports, ``short`` is Slurm's word for it.

    ``profiles`` is empty for a kind that cannot be partitioned. ``inferred`` marks a table that was not read from a
    device or from NVIDIA's own pages, but follows from its family.
    """

    key: str
    short: str
    products: tuple[str, ...]
    memory_gb: int
    compute_slices: int = 0
    memory_slices: int = 0
    profiles: tuple[Profile, ...] = ()
    inferred: bool = False
    #: ``ampere``, ``hopper`` ...; a GPU of the first is reset when its MIG mode is switched.
    architecture: str = ""
    #: How many decoders and encoders it has to give out; 0 where profiles do not compete for them.
    engines: int = 0

    def profile(self, name: str) -> Profile | None:
        """The profile of that name; None when this kind has none such."""
        return next((profile for profile in self.profiles if profile.name == name), None)


@dataclass(frozen=True, order=True)
class Slice:
    """A MIG instance: ``profile`` on the memory slices of ``device`` from ``start`` on."""

    device: str
    start: int
    profile: str


@dataclass(frozen=True)
class Held:
    """A slice that is there already; ``consumer`` is None when nobody uses it, ``running`` when work runs on it now."""

    slice: Slice
    consumer: str | None = None
    running: bool = False


@dataclass(frozen=True)
class Device:
    """A GPU of the inventory, or of the file.

    ``allowed`` restricts its profiles to those named; None allows all of its kind. ``mig`` tells whether it may be
    partitioned. ``held`` is what is on it. ``whole_for`` names the consumer that has it as a whole, and
    ``whole_running`` whether work runs there now. ``product`` is its name as the file or NVML says it.
    """

    id: str
    kind: Kind
    pci_address: str = ""
    uuid: str = ""
    mig: bool = True
    allowed: tuple[str, ...] | None = None
    held: tuple[Held, ...] = ()
    whole_for: str | None = None
    whole_running: bool = False
    #: Whether its MIG mode is on now; None when that is not known.
    mig_now: bool | None = None
    product: str = ""


@dataclass(frozen=True)
class Demand:
    """``count`` slices (or whole devices) for one consumer, such as a node group, a node or a workload.

    Exactly one of ``profile``, ``at_least`` (GB of memory, compute slices) and ``whole`` says what is asked.
    ``device`` and ``start`` pin it. ``kind`` restricts it to devices of that key or short name.
    """

    name: str
    consumer: str
    count: int = 1
    profile: str | None = None
    at_least: tuple[int, int] | None = None
    whole: bool = False
    kind: str | None = None
    device: str | None = None
    start: int | None = None
    spreading: Spreading = "packed"


@dataclass(frozen=True)
class Grant:
    """What one unit of a demand got: a slice, or (``slice`` None) the whole of ``device``.

    ``kept`` tells that it was there already and stays.
    """

    demand: str
    index: int
    consumer: str
    device: str
    slice: Slice | None = None
    kept: bool = False


@dataclass(frozen=True)
class Conflict:
    """Why not all demands can be met: the smallest set of them that cannot stand together, in words.

    ``nearest`` is the largest part that fits, as a count for each demand.
    """

    demands: tuple[str, ...]
    why: str
    nearest: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Placement:
    """Every unit of every demand with its place. ``disturbed`` are running consumers that must be drained for it.

    ``remains`` names, for each device, the largest profile that can still be placed there (None: nothing; ``whole``:
    a free device that cannot be partitioned). ``left`` are slices that nobody asks for and where work still runs: they
    stay until it ends. All other slices that are no grant's are destroyed.
    """

    grants: tuple[Grant, ...]
    disturbed: tuple[str, ...] = ()
    remains: Mapping[str, str | None] = field(default_factory=dict)
    left: tuple[Slice, ...] = ()

    def on(self, device: str) -> tuple[Grant, ...]:
        """The grants on one device, by start."""
        found = (grant for grant in self.grants if grant.device == device)
        return tuple(sorted(found, key=lambda grant: grant.slice.start if grant.slice else 0))
