"""Inventories in files: recorded on one machine and rehearsed on any other, or written by hand in a few lines.

A GPU that is written by hand names its model and how many of it there are; its memory and its MIG profiles come from
the catalogue, and it is called simulated wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from ai_how.errors import AiHowError, Problem, SpecError
from ai_how.gpu.catalogue import kind_of, similar
from ai_how.gpu.model import Kind
from ai_how.host.gpus import GpuFound, MigMode, ProfileFound
from ai_how.host.inventory import Inventory
from ai_how.host.machine import Machine
from ai_how.run import write_whole
from ai_how.run.files import read_whole
from ai_how.spec.load import load
from ai_how.spec.parse import Position, validate

GIB = 2**30
#: CUDA compute capability by architecture (CUDA programming guide), and that of Blackwell's workstation GPUs.
_CAPABILITY = {"ampere": "8.0", "ada": "8.9", "hopper": "9.0", "blackwell": "10.0"}
_WORKSTATION = "12.0"
#: PCI buses of simulated GPUs begin here: high enough to look like a slot, and the same every time.
_FIRST_BUS = 0x41
_HEADING = (
    "# An inventory of AI-HOW's: `ai-how doctor --inventory FILE` rehearses this machine on any other.\n"
)


class _Quoting(yaml.SafeDumper):
    """Texts that begin with a digit are quoted: ``1e30`` is a PCI id, and versions of YAML differ on such."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if data[:1].isalpha() else "'")


_Quoting.add_representer(str, _Quoting.represent_str)


def _switch(value: Any) -> Any:
    return {"current": value, "pending": value} if isinstance(value, bool) else value


class GpuWritten(GpuFound):
    """A GPU in a file: everything that :class:`GpuFound` has, or a model and a count."""

    count: int = Field(1, ge=1, le=64, description="How many of it there are, for one written by hand.")
    mig: Annotated[MigMode | None, BeforeValidator(_switch)] = Field(
        None, description="Whether MIG is on: true, false, or the current and the pending state."
    )


class InventoryFile(Machine):
    """The shape of the file."""

    gpus: tuple[GpuWritten, ...] | None = Field(None, description="NVIDIA GPUs; an empty list for none.")


def parse_inventory(text: str, name: str) -> Machine:
    """The machine that a file describes. Raises :class:`SpecError` with every mistake in it and where it stands."""
    loaded = load(text, name)
    if loaded.problems:
        raise SpecError([problem for _, problem in loaded.problems])
    file = validate(InventoryFile, loaded.data, loaded.positions, name)
    problems = list(_unknown_models(file, loaded.positions, name))
    if problems:
        raise SpecError(problems)
    facts = {key: getattr(file, key) for key in Machine.model_fields}
    if file.gpus is not None:
        facts["gpus"] = tuple(_expanded(file.gpus))
    return Machine(**facts)


def read_inventory(path: Path) -> Machine:
    """The machine in a file; raises :class:`NotFound`, and :class:`SpecError` with every mistake."""
    text = read_whole(
        path, todo="`ai-how doctor --save-inventory FILE` writes one; examples/inventories/ has some."
    )
    try:
        return parse_inventory(text, str(path))
    except SpecError as error:
        error.todo = "Correct the file; the reference page of inventories says what may stand there."
        raise


def inventory_text(machine: Machine) -> str:
    """The file of a machine: what nobody could tell is left out."""
    origin = "recorded" if machine.origin == "found" else machine.origin
    facts = machine.model_copy(update={"origin": origin}).model_dump(mode="json", exclude_defaults=True)
    ordered = {"inventory": facts.pop("inventory"), "origin": origin} | facts
    return _HEADING + yaml.dump(
        ordered, Dumper=_Quoting, sort_keys=False, width=110, allow_unicode=True, default_flow_style=None
    )


def save_inventory(machine: Machine, path: Path) -> None:
    """Write the file; raises :class:`AiHowError` when the place cannot be written."""
    try:
        write_whole(path, inventory_text(machine))
    except OSError as error:
        raise AiHowError(f"the inventory cannot be written: {error.strerror}", where=str(path)) from error


def as_inventory(machine: Machine, here: Inventory) -> Inventory:
    """The few facts that a plan needs, of ``machine`` instead of this one; what it does not say stays as it is here."""
    cpus, address = machine.cpus, machine.system.own_address
    return replace(
        here,
        hostname=machine.hostname or here.hostname,
        cpus=(cpus.usable or cpus.threads) if cpus else here.cpus,
        memory=round(machine.memory_gb * GIB) if machine.memory_gb is not None else here.memory,
        loopback_name=here.loopback_name if address is None else address == "127.0.0.1",
        disk_free=round(machine.disk_free_gb * GIB) if machine.disk_free_gb is not None else here.disk_free,
    )


def profiles_of(kind: Kind) -> tuple[ProfileFound, ...]:
    """The catalogue's profiles of a kind, as NVML would list them."""
    return tuple(
        ProfileFound(
            id=profile.id,
            name=profile.name,
            compute=profile.compute,
            memory=profile.memory_gb * GIB,
            maximum=profile.maximum,
            size=profile.size,
            starts=profile.starts,
            media=profile.media,
        )
        for profile in kind.profiles
    )


def _capability(kind: Kind) -> str:
    if kind.architecture == "blackwell" and kind.key.startswith("rtx-"):
        return _WORKSTATION
    return _CAPABILITY.get(kind.architecture, "")


def _by_hand(gpu: GpuWritten) -> bool:
    return not gpu.uuid


def _unknown_models(
    file: InventoryFile, positions: Mapping[tuple[str | int, ...], Position], name: str
) -> Iterator[Problem]:
    for index, gpu in enumerate(file.gpus or ()):
        if _by_hand(gpu) and not gpu.memory and kind_of(gpu.model) is None:
            at = positions["gpus", index, "model"]
            close = similar(gpu.model)
            yield Problem(
                f"the catalogue does not know the GPU '{gpu.model}'",
                name,
                at.line,
                at.column,
                todo=f"Did you mean '{close[0]}'?" if close else "Write its memory in bytes: `memory: ...`.",
            )


def _expanded(gpus: tuple[GpuWritten, ...]) -> Iterator[GpuFound]:
    index = 0
    for written in gpus:
        for _ in range(written.count):
            yield _expand(written, index)
            index += 1


def _expand(written: GpuWritten, index: int) -> GpuFound:
    """One device; what was not written of a device by hand follows from its model and its place in the list."""
    facts = {key: getattr(written, key) for key in GpuFound.model_fields}
    kind = kind_of(written.model)
    if _by_hand(written):
        facts |= {"index": index, "uuid": f"GPU-simulated-{index}"}
        if not written.pci_address or written.count > 1:
            facts["pci_address"] = f"0000:{_FIRST_BUS + index:02x}:00.0"
        if kind is not None:
            facts["model"] = kind.products[0] if kind.key == written.model.lower() else written.model
            facts["memory"] = written.memory or kind.memory_gb * GIB
            facts["profiles"] = written.profiles or profiles_of(kind)
            facts["compute_capability"] = written.compute_capability or _capability(kind)
            if kind.profiles and "mig" not in written.model_fields_set:
                facts["mig"] = MigMode(current=False, pending=False)
    return GpuFound(**facts)
