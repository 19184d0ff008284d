"""Cut this machine's GPUs as the file asks, and bring them back: what it takes, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from ai_how.errors import AiHowError, NotFound
from ai_how.gpu import render
from ai_how.gpu.allocation import Allocation
from ai_how.gpu.catalogue import kind_of
from ai_how.gpu.demand import devices_of
from ai_how.gpu.model import Device
from ai_how.gpu.repartition import Act, repartition
from ai_how.host.folders import Folders
from ai_how.host.geometry import (
    Action,
    Change,
    Journal,
    SavedGpu,
    SavedSlice,
    cut,
    geometry,
    read_journal,
    towards,
)
from ai_how.host.gpus import GpuFound, MigMode
from ai_how.host.machine import Machine
from ai_how.host.mig import Cutter, look
from ai_how.host.nvml import Nvml
from ai_how.run import FileLock, write_whole
from ai_how.run.files import read_whole
from ai_how.site.gpus import gpus_of
from ai_how.spec.model import SiteSpec


@dataclass(frozen=True)
class Cutting:
    """What a command would do to the machine's GPUs: its changes, what they lead to, and what the file calls them.

    ``besides`` is what needs nothing and who must be drained first, with the reasons.
    """

    changes: tuple[Change, ...]
    wanted: tuple[SavedGpu, ...]
    before: tuple[SavedGpu, ...]
    names: Mapping[str, str]
    besides: tuple[Act, ...] = ()
    #: Whether a switch of MIG may wait for the next reset of its device.
    later: bool = False


def to_apply(spec: SiteSpec, nvml: Nvml) -> Cutting:
    """What it takes to cut this machine's GPUs as the file asks.

    Only devices that the file names by their PCI address are changed. What to do, and why, is decided by
    :func:`repartition`; how each device really is, by NVML. Raises :class:`NotFound` for one that is not there, and
    :class:`DoesNotFit`.
    """
    real = _named(spec, look(nvml))
    allocation = gpus_of(spec, Machine(inventory="1.0", gpus=tuple(real.values()))).allocation
    acts = repartition(allocation.devices, allocation.placement)
    wanted = {device.id: _target(device, real[device.id], allocation) for device in allocation.devices}
    changes = [
        change
        for name, target in wanted.items()
        for change in towards(real[name], target, name, "the file asks for it", _reasons(name, acts))
    ]
    besides = tuple(act for act in acts if act.verb in ("keep", "drain"))
    return _cutting(changes, wanted, real, besides=besides)


def _reasons(device: str, acts: Iterable[Act]) -> dict[tuple[Action, int | None], str]:
    """Why each act on a device is done, by its verb and start."""
    verbs: Mapping[str, Action] = {verb: verb for verb in get_args(Action)}
    return {
        (verbs[act.verb], act.slice.start if act.slice else None): act.why
        for act in acts
        if act.device == device and act.verb in verbs
    }


def to_clean(spec: SiteSpec, nvml: Nvml) -> Cutting:
    """What it takes to bring the GPUs that the file names back to whole ones, with MIG off."""
    real = _named(spec, look(nvml))
    wanted = {name: cut(gpu, False) for name, gpu in real.items() if gpu.mig is not None}
    changes = [
        change
        for name, target in wanted.items()
        for change in towards(real[name], target, name, "no slices are left on it")
    ]
    return _cutting(changes, wanted, real, later=True)


def to_restore(spec: SiteSpec, nvml: Nvml, journal: Journal, where: str) -> Cutting:
    """What it takes to bring GPUs back to what a journal saved; only those that the file names, too."""
    real = _named(spec, look(nvml))
    by_uuid = {gpu.uuid: name for name, gpu in real.items()}
    strangers = [saved.uuid for saved in journal.saved if saved.uuid not in by_uuid]
    if strangers or not journal.saved:
        raise NotFound(
            f"not all devices of {where} are this machine's and in the file" if strangers
            else f"{where} saved no device",
            cause=", ".join(strangers) or None,
            todo="List each by its PCI address under global.gpu_allocation.devices.",
        )  # fmt: skip
    wanted = {by_uuid[saved.uuid]: saved for saved in journal.saved}
    changes = [
        change
        for name, target in wanted.items()
        for change in towards(real[name], target, name, f"it was so when {journal.command} began")
    ]
    return _cutting(changes, wanted, real)


def saved_first(cutting: Cutting, folders: Folders, command: str) -> Path:
    """Save how the devices are cut before anything is done or asked; gives the file, readable for its owner alone."""
    folder = folders.make().home / "gpu"
    stamp = datetime.now(UTC)
    file = folder / f"{stamp:%Y%m%d-%H%M%S-%f}-{command.replace(' ', '-')}.json"
    journal = Journal(command=command, begun=stamp.isoformat(timespec="seconds"), saved=cutting.before)
    write_whole(file, journal.model_dump_json(indent=2) + "\n")
    return file


def carry_out(
    cutting: Cutting,
    nvml: Nvml,
    file: Path | None,
    command: str,
    heard: Callable[[Change], None] | None = None,
) -> None:
    """Make the changes, all or none, with the journal in ``file``; without one it is a rehearsal.

    Raises :class:`AiHowError` while anything runs there, :class:`StepFailed` when a change failed.
    """
    cutter = Cutter(nvml, file, command, heard=heard, later=cutting.later)
    with FileLock(file.parent / "lock", command) if file else nullcontext():
        cutter.cut(cutting.changes, cutting.wanted)


def outcome(cutting: Cutting, file: Path | None, *, rehearsal: bool) -> dict[str, object]:
    """What was done, for ``--json``."""
    return {
        "rehearsal": rehearsal,
        "changes": [{"change": change.text, "why": change.why} for change in cutting.changes],
        "besides": [{"act": act.text, "why": act.why} for act in cutting.besides],
        "before": [saved.model_dump(mode="json") for saved in cutting.before],
        "after": [saved.model_dump(mode="json") for saved in cutting.wanted],
        "journal": str(file) if file else None,
    }


def journal_at(path: Path) -> Journal:
    """The journal in a file. Raises :class:`NotFound`, and :class:`AiHowError` when it is none."""
    todo = "`ai-how gpu apply` and `ai-how gpu cleanup` save them in the folder gpu/ of the data folder."
    return read_journal(read_whole(path, todo=todo), str(path))


def unfinished(folders: Folders) -> tuple[Path, ...]:
    """Journals of commands that were cut off, or could not put back what they had changed, or cannot be read."""
    return tuple(path for path in sorted((folders.home / "gpu").glob("*-gpu-*.json")) if not _settled(path))


def _settled(path: Path) -> bool:
    try:
        return journal_at(path).outcome not in ("begun", "not restored")
    except AiHowError:
        return False


def _cutting(
    changes: Iterable[Change],
    wanted: Mapping[str, SavedGpu],
    real: Mapping[str, GpuFound],
    *,
    besides: tuple[Act, ...] = (),
    later: bool = False,
) -> Cutting:
    changes = tuple(changes)
    touched = {change.name for change in changes}
    return Cutting(
        changes,
        tuple(target for name, target in wanted.items() if name in touched),
        tuple(geometry(real[name]) for name in wanted if name in touched),
        {gpu.uuid: name for name, gpu in real.items()},
        besides,
        later,
    )


def _named(spec: SiteSpec, found: Sequence[GpuFound]) -> dict[str, GpuFound]:
    """This machine's devices by the file's names. Raises when one is not there, or is of another kind."""
    by_address = {gpu.pci_address.lower(): gpu for gpu in found}
    there = ", ".join(f"{gpu.model} at {gpu.pci_address}" for gpu in found)
    named = {}
    for device in devices_of(spec):
        gpu = by_address.get(device.pci_address.lower())
        if gpu is None:
            at = f"at {device.pci_address}" if device.pci_address else "without a PCI address in the file"
            raise NotFound(
                f"{device.id} {at} is not among this machine's GPUs; nothing was changed",
                cause=f"there is {there}",
                todo="Correct pci_address under global.gpu_allocation.devices.",
            )
        known = kind_of(gpu.model)
        if known is not None and known.key != device.kind.key:
            raise AiHowError(
                f"{device.id} is another card than the file says; nothing was changed",
                cause=f"the file says {device.product} ({device.kind.key}), {device.pci_address} has {gpu.model}",
                todo="Correct model or pci_address under global.gpu_allocation.devices.",
            )
        named[device.id] = gpu
    if not named:
        raise NotFound(
            "the file names no GPU", where="global.gpu_allocation.devices", todo=f"There is {there}."
        )
    return named


def _target(device: Device, gpu: GpuFound, allocation: Allocation) -> SavedGpu:
    """How a device shall be cut; the MIG mode of one that nobody gets anything of stays."""
    whole = render.whole_of(device, allocation.entries)
    granted = [entry.grant.slice for entry in render.slices_of(device, allocation.entries)]
    left = [one for one in allocation.placement.left if one.device == device.id]
    slices = tuple(
        SavedSlice(profile=one.profile, profile_id=render.profile_of(device, one).id, start=one.start)
        for one in sorted((one for one in (*granted, *left) if one), key=lambda one: one.start)
    )
    mode = gpu.mig or MigMode(current=False, pending=False)
    if whole is None and not granted:
        return cut(gpu, mode.current, slices, pending=mode.pending)
    return cut(gpu, whole is None and gpu.mig is not None, slices)
