"""How a GPU is cut: saved to a file before it is changed, and compared with what is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationError

from ai_how.errors import AiHowError, CouldNotTell
from ai_how.host.gpus import GpuFound, MigMode
from ai_how.spec.model import Frozen

#: What may be done to a device; ``destroy`` and ``create`` are of one slice, with its compute instance.
Action = Literal["mig-on", "mig-off", "destroy", "create"]


class SavedSlice(Frozen):
    """A slice by what makes it again, its profile's number and its start; ``usable`` with a compute instance."""

    profile: str = Field(description="Name of the profile.")
    profile_id: int = Field(ge=0, description="Number of the profile.")
    start: int = Field(ge=0, description="First memory slice.")
    usable: bool = Field(True, description="Whether it has a compute instance.")

    @property
    def place(self) -> tuple[int, int]:
        return self.profile_id, self.start


class SavedGpu(Frozen):
    """One device: whether MIG is on, whether it will be after the next reset (``pending``), and its slices by start."""

    uuid: str = Field(description="UUID of the device.")
    pci_address: str = Field("", description="Its PCI address.")
    model: str = Field("", description="Its product name.")
    mig: bool = Field(description="Whether MIG is on.")
    pending: bool = Field(description="Whether MIG will be on after the next reset.")
    slices: tuple[SavedSlice, ...] = Field((), description="Its slices.")

    def same_slices(self, other: SavedGpu) -> bool:
        """Whether both are cut alike; names of profiles may differ, as they do between drivers."""
        return [(one.place, one.usable) for one in self.slices] == [
            (one.place, one.usable) for one in other.slices
        ]


class ChangeDone(Frozen):
    """A line of the journal: a change in words, and how it went."""

    change: str = Field(description="What was to be done.")
    outcome: Literal["waiting", "begun", "done", "failed"] = Field("waiting", description="How it went.")


class Journal(Frozen):
    """What a command is about to do to GPUs, and how they were cut before: enough to put it back after a crash."""

    journal: Literal["1.0"] = Field("1.0", description="Version of this file's shape.")
    command: str = Field(description="Who wrote it: gpu apply or gpu cleanup.")
    begun: str = Field(description="When it began, UTC.")
    outcome: Literal["saved", "begun", "done", "restored", "not restored"] = Field(
        "saved", description="How it ended; saved: it never began; begun: it was cut off."
    )
    saved: tuple[SavedGpu, ...] = Field((), description="Every device that is changed, as it was.")
    changes: tuple[ChangeDone, ...] = Field((), description="The changes in their order.")


@dataclass(frozen=True)
class Change:
    """One change of one device (``device`` its UUID, ``name`` what the file calls it), with its reason."""

    action: Action
    device: str
    name: str
    why: str
    slice: SavedSlice | None = None

    @property
    def text(self) -> str:
        """Such as ``create 1g.10gb at 6 on GPU-0``."""
        if self.slice is None:
            return f"switch MIG {'on' if self.action == 'mig-on' else 'off'} on {self.name}"
        return f"{self.action} {self.slice.profile} at {self.slice.start} on {self.name}"


def geometry(gpu: GpuFound) -> SavedGpu:
    """How a device is cut now. Raises :class:`CouldNotTell` when its slices could not be listed.

    Raises :class:`AiHowError` for a slice that several compute instances share: it could not be put back.
    """
    if gpu.instances is None:
        raise CouldNotTell(
            f"the slices of {gpu.uuid} could not be listed",
            cause=gpu.could_not_tell.get("instances"),
            todo="Run it as root, or let an administrator give you access to the MIG configuration.",
        )
    shared = [each for each in gpu.instances if len(each.compute_instances) > 1]
    if shared:
        raise AiHowError(
            f"{shared[0].profile} at {shared[0].start} on {gpu.uuid} is shared by several compute instances",
            cause="they were made by hand, and ai-how could not put them back if a step failed",
            todo="Destroy them first: nvidia-smi mig -dci",
        )
    slices = tuple(
        SavedSlice(
            profile=each.profile,
            profile_id=each.profile_id,
            start=each.start,
            usable=bool(each.compute_instances),
        )
        for each in sorted(gpu.instances, key=lambda each: each.start)
    )
    mode = gpu.mig or MigMode(current=False, pending=False)
    return cut(gpu, mode.current, slices, pending=mode.pending)


def cut(
    gpu: GpuFound, mig: bool, slices: tuple[SavedSlice, ...] = (), *, pending: bool | None = None
) -> SavedGpu:
    """A device cut into these slices."""
    return SavedGpu(
        uuid=gpu.uuid,
        pci_address=gpu.pci_address,
        model=gpu.model,
        mig=mig,
        pending=mig if pending is None else pending,
        slices=slices,
    )


def towards(
    found: GpuFound,
    wanted: SavedGpu,
    name: str,
    why: str,
    reasons: Mapping[tuple[Action, int | None], str] | None = None,
) -> Iterator[Change]:
    """The changes from what is to what is wanted: what must go first, then the mode, then what is new.

    ``reasons`` are those of single changes, by the action and the start (None for the mode); ``why`` is that of all
    others.
    """
    known = reasons or {}
    there = geometry(found)
    # One that is there with a compute instance and wanted without, or the other way round, is made anew.
    as_asked = {(one.place, one.usable) for one in wanted.slices} if there.mig and wanted.mig else set()
    kept = {one.place for one in there.slices if (one.place, one.usable) in as_asked}
    for one in there.slices:
        if one.place not in kept:
            yield Change("destroy", found.uuid, name, known.get(("destroy", one.start), why), one)
    if found.mig is not None and (found.mig.current, found.mig.pending) != (wanted.mig, wanted.pending):
        action: Action = "mig-on" if wanted.mig else "mig-off"
        yield Change(action, found.uuid, name, known.get((action, None), why))
    for one in wanted.slices:
        if one.place not in kept:
            yield Change("create", found.uuid, name, known.get(("create", one.start), why), one)


def read_journal(text: str, where: str) -> Journal:
    """A journal's text as a journal. Raises :class:`AiHowError` when it is none."""
    try:
        return Journal.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise AiHowError(
            "this file holds no saved geometry",
            where=where,
            cause=f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}",
            todo="Name a file that `ai-how gpu apply` or `ai-how gpu cleanup` wrote.",
        ) from error
