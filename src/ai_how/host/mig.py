"""Cut GPUs into slices through NVML: all of it, or nothing of it.

Before the first change the geometry is saved to a file; after the last it is read back. When a change fails, when the
read-back disagrees, and when the command is interrupted, the devices are brought back to what was saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ai_how.errors import AiHowError, CouldNotTell, NotFound, StepFailed
from ai_how.host.geometry import Change, ChangeDone, Journal, SavedGpu, SavedSlice, geometry
from ai_how.host.gpus import GpuFound, InstanceFound
from ai_how.host.nvml import DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, NO_PERMISSION, Nvml, NvmlError
from ai_how.run import write_whole

Heard = Callable[[Change], None]


def look(nvml: Nvml) -> tuple[GpuFound, ...]:
    """Every device of this machine. Raises :class:`NotFound` where there is none, or no driver to ask."""
    try:
        nvml.open()
        found = nvml.gpus()
    except NvmlError as error:
        if error.code not in (LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED):
            raise
        raise _no_device(error.cause) from error
    if not found:
        raise _no_device("NVIDIA's driver has none")
    return found


def _no_device(cause: str | None) -> NotFound:
    return NotFound(
        "this machine has no NVIDIA GPU to change",
        cause=cause,
        todo="Rehearse with an inventory: `ai-how gpu apply --inventory FILE` changes nothing.",
    )


def must_be_idle(nvml: Nvml, changes: Iterable[Change]) -> None:
    """Raise :class:`AiHowError` while anything runs on a device that would change, :class:`CouldNotTell` if unknown."""
    names = {change.device: change.name for change in changes}
    busy = []
    for device, name in names.items():
        try:
            running = nvml.processes(device)
        except NvmlError as error:
            raise CouldNotTell(
                f"nobody could tell what runs on {name}",
                cause=error.cause,
                todo="Run it as root." if error.code == NO_PERMISSION else None,
            ) from error
        instances = {each.id: each for each in nvml.instances(device)} if running else {}
        for process in running:
            on = instances.get(process.instance) if process.instance is not None else None
            place = f"{on.profile} at {on.start} of {name}" if on else name
            busy.append(f"process {process.pid}{f' ({process.name})' if process.name else ''} on {place}")
    if busy:
        raise AiHowError(
            "something runs on the GPUs that would change; nothing was touched",
            detail="\n".join(busy),
            todo="Drain and end what is listed, then run it again.",
        )


class Cutter:
    """Carries changes out on ``nvml`` and keeps the journal in ``file`` (None: a rehearsal, which keeps none).

    With ``later``, a switch of MIG may wait for the next reset of its device; without, that is a failure.
    """

    def __init__(
        self, nvml: Nvml, file: Path | None, command: str, *, heard: Heard | None = None, later: bool = False
    ) -> None:
        self._nvml = nvml
        self._file = file
        self._heard = heard or (lambda change: None)
        self._later = later
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.journal = Journal(command=command, begun=now)

    def cut(self, changes: Sequence[Change], wanted: Sequence[SavedGpu]) -> None:
        """Carry out ``changes``, so that the devices are as ``wanted``; or leave them as they were.

        Raises :class:`AiHowError` when something runs there, :class:`StepFailed` when a change failed.
        """
        must_be_idle(self._nvml, changes)
        devices = dict.fromkeys(change.device for change in changes)
        before = tuple(geometry(self._nvml.gpu(device)) for device in devices)
        lines = tuple(ChangeDone(change=change.text) for change in changes)
        self._write(saved=before, changes=lines, outcome="begun")
        try:
            for number, change in enumerate(changes):
                self._mark(number, "begun")
                self._heard(change)
                self._carry_out(change)
                self._mark(number, "done")
            self._read_back(wanted)
        except BaseException as error:
            self._take_back(before, error)
            raise
        self._write(outcome="done")

    def _carry_out(self, change: Change) -> None:
        match change.action:
            case "mig-on" | "mig-off":
                self._switch(change.device, change.name, change.action == "mig-on")
            case "destroy":
                assert change.slice is not None
                _remove(self._nvml, change.device, self._find(change.device, change.slice))
            case "create":
                assert change.slice is not None
                self._create(change.device, change.slice)

    def _switch(self, device: str, name: str, on: bool) -> None:
        mode = self._nvml.set_mig_mode(device, on)
        if (mode.pending if self._later else mode.current) == on:
            return
        word = "on" if on else "off"
        at = self._nvml.gpu(device).pci_address or device
        raise AiHowError(
            f"MIG can be switched {word} on {name} only by a reset of the device",
            todo=f"Do both, then run this again: nvidia-smi -i {at} -mig {int(on)} ; nvidia-smi --gpu-reset -i {at}",
        )

    def _find(self, device: str, one: SavedSlice) -> InstanceFound:
        for each in self._nvml.instances(device):
            if (each.profile_id, each.start) == one.place:
                return each
        raise NotFound(f"{one.profile} at {one.start} is not there any more")

    def _create(self, device: str, one: SavedSlice) -> None:
        made = self._nvml.create_gpu_instance(device, one.profile_id, one.start)
        if one.usable:
            self._nvml.create_compute_instance(device, made.id)

    def _read_back(self, wanted: Sequence[SavedGpu]) -> None:
        for asked in wanted:
            there = geometry(self._nvml.gpu(asked.uuid))
            mode = there.pending if self._later else there.mig
            if mode != asked.mig or not there.same_slices(asked):
                raise AiHowError(
                    f"{asked.uuid} reads back otherwise than it was cut",
                    cause=f"asked: {in_words(asked)}; read back: {in_words(there)}",
                )

    def _take_back(self, before: Sequence[SavedGpu], error: BaseException) -> None:
        """Restore, and say how that went; an interruption by the user is passed on as it is."""
        lines = tuple(
            line.model_copy(update={"outcome": "failed"}) if line.outcome == "begun" else line
            for line in self.journal.changes
        )
        trouble = [words for gpu in before if (words := self._restore(gpu))]
        # A full disk must not hide what happened to the devices.
        with suppress(OSError):
            self._write(changes=lines, outcome="not restored" if trouble else "restored")
        if trouble:
            raise StepFailed(
                f"{error}; and the geometry from before could not be restored",
                where=str(self._file) if self._file else None,
                cause=error.cause if isinstance(error, AiHowError) else None,
                detail="\n".join(trouble),
                todo=f"End what runs there, then: ai-how gpu cleanup --restore {self._file}",
            ) from error
        if isinstance(error, Exception):
            raise StepFailed(
                f"{error}; the geometry from before is restored",
                where=error.where if isinstance(error, AiHowError) else None,
                cause=error.cause if isinstance(error, AiHowError) else None,
                todo=error.todo if isinstance(error, AiHowError) else None,
            ) from error

    def _restore(self, saved: SavedGpu) -> str | None:
        """Bring one device back, from wherever it was left; the reason when that fails."""
        try:
            put_back(self._nvml, saved)
        except AiHowError as error:
            return f"{saved.uuid}: {error}{f' ({error.cause})' if error.cause else ''}"
        return None

    def _mark(self, number: int, outcome: str) -> None:
        lines = list(self.journal.changes)
        lines[number] = lines[number].model_copy(update={"outcome": outcome})
        self._write(changes=tuple(lines))

    def _write(self, **facts: object) -> None:
        self.journal = self.journal.model_copy(update=facts)
        if self._file is not None:
            write_whole(self._file, self.journal.model_dump_json(indent=2) + "\n")


def put_back(nvml: Nvml, saved: SavedGpu) -> None:
    """Make a device as it was saved, whatever of it is there now. Doing it twice does no harm.

    Raises :class:`NvmlError` when NVML refuses, :class:`StepFailed` when it reads back otherwise.
    """
    kept = {one.place for one in saved.slices} if saved.mig else set()
    for each in nvml.instances(saved.uuid):
        if (each.profile_id, each.start) not in kept:
            _remove(nvml, saved.uuid, each)
    mode = nvml.mig_mode(saved.uuid)
    if mode is not None and (mode.current, mode.pending) != (saved.mig, saved.pending):
        nvml.set_mig_mode(saved.uuid, saved.pending)
    there = {(each.profile_id, each.start): each for each in nvml.instances(saved.uuid)}
    for one in saved.slices:
        instance = there.get(one.place) or nvml.create_gpu_instance(saved.uuid, one.profile_id, one.start)
        if one.usable and not instance.compute_instances:
            nvml.create_compute_instance(saved.uuid, instance.id)
    now = geometry(nvml.gpu(saved.uuid))
    if (now.mig, now.pending) != (saved.mig, saved.pending) or not now.same_slices(saved):
        raise StepFailed(f"it is now {in_words(now)}, and was {in_words(saved)}")


def _remove(nvml: Nvml, device: str, instance: InstanceFound) -> None:
    for each in instance.compute_instances:
        nvml.destroy_compute_instance(device, instance.id, each.id)
    nvml.destroy_gpu_instance(device, instance.id)


def in_words(gpu: SavedGpu) -> str:
    """How a device is cut: ``MIG on: 1g.10gb at 6, 3g.40gb at 0``."""
    if not gpu.mig:
        return "MIG off" + (", on after the next reset" if gpu.pending else "")
    slices = ", ".join(
        f"{one.profile} at {one.start}{'' if one.usable else ' (no compute instance)'}" for one in gpu.slices
    )
    return f"MIG on: {slices or 'no slices'}"
