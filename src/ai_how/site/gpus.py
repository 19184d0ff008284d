"""The site's GPUs: what the file asks for on what is there, shown and rendered."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ai_how.errors import NotFound
from ai_how.gpu import draw, render
from ai_how.gpu.allocation import Allocation, allocate, observed
from ai_how.gpu.demand import Entry, demands_of, devices_of
from ai_how.gpu.explain import Answer, answer
from ai_how.gpu.model import Device, Placement
from ai_how.gpu.render import Sharing, Told
from ai_how.host.devices import device_found, renamed, sharing_of, told_of
from ai_how.host.gpus import GpuFound
from ai_how.host.machine import Machine
from ai_how.kube import render as kube
from ai_how.spec.model import SiteSpec

#: The outputs of ``gpu plan --format``, and what each is for.
FORMATS = {
    "mig-parted": "a file for nvidia-mig-parted",
    "nvidia-smi": "the commands that cut the GPUs by hand",
    "gres": "lines for Slurm's gres.conf and slurm.conf",
    "kubernetes": "values for NVIDIA's device plugin, and the resources that each node has",
    "mdev": "mdev_map.json: virtual devices with UUIDs and owners",
}


@dataclass(frozen=True)
class Gpus:
    """The site's GPUs with what was placed on them, and what an inventory told beyond the file."""

    site: str
    allocation: Allocation
    told: Mapping[str, Told] = field(default_factory=dict)
    sharing: Sharing = "unknown"
    warnings: tuple[str, ...] = ()

    def text(self, *, ascii_only: bool = False) -> str:
        """The drawing as text."""
        a = self.allocation
        return draw.text(a.devices, a.entries, a.placement, ascii_only=ascii_only)

    def spans(self) -> tuple[tuple[draw.Span, ...], ...]:
        """The drawing as lines of spans, for whoever has colours."""
        return draw.lines(self.allocation.devices, self.allocation.entries, self.allocation.placement)

    def svg(self) -> str:
        """The drawing as a picture."""
        a = self.allocation
        return draw.svg(a.devices, a.entries, a.placement, title=f"GPUs of {self.site}")

    def rendered(self, form: str) -> str:
        """One of :data:`FORMATS`. Raises :class:`KeyError` for any other."""
        devices, entries = self.allocation.devices, self.allocation.entries
        texts: dict[str, Callable[[], str]] = {
            "mig-parted": lambda: render.mig_parted(devices, entries, self.told, name=self.site),
            "nvidia-smi": lambda: render.nvidia_smi(devices, entries, self.allocation.placement.left),
            "gres": lambda: render.gres(devices, entries, self.told),
            "kubernetes": lambda: kube.device_plugin(devices, entries),
            "mdev": lambda: render.mdev_map(devices, entries, site=self.site, sharing=self.sharing),
        }
        return texts[form]()

    def ledger(self) -> tuple[Entry, ...]:
        """Who has what, device after device, slice after slice."""
        order = {device.id: number for number, device in enumerate(self.allocation.devices)}
        return tuple(sorted(self.allocation.entries, key=lambda entry: _place(order, entry)))

    def as_json(self) -> dict[str, object]:
        """The ledger, what remains, and who must be drained."""
        a = self.allocation
        return {
            "site": self.site,
            "devices": [
                {"id": each.id, "model": render.product_of(each), "kind": each.kind.key,
                 "pci_address": each.pci_address, "memory_slices": each.kind.memory_slices,
                 "remains": a.placement.remains.get(each.id)}
                for each in a.devices
            ],
            "ledger": [
                {"device": entry.grant.device, "owner": render.owner_of(entry),
                 "consumer": entry.grant.consumer, "demand": entry.grant.demand,
                 "profile": entry.grant.slice.profile if entry.grant.slice else None,
                 "start": entry.grant.slice.start if entry.grant.slice else None, "kept": entry.grant.kept}
                for entry in self.ledger()
            ],
            "disturbed": list(a.placement.disturbed),
            "left": [{"device": one.device, "profile": one.profile, "start": one.start}
                     for one in a.placement.left],
            "warnings": list(self.warnings),
        }  # fmt: skip


def _place(order: Mapping[str, int], entry: Entry) -> tuple[int, int]:
    one = entry.grant.slice
    return order[entry.grant.device], one.start if one else 0


def shown(machine: Machine) -> Iterator[tuple[list[str], tuple[tuple[draw.Span, ...], ...]]]:
    """Every device of a machine: what is known of it in lines, and its drawing as it is cut now."""
    for gpu in machine.gpus or ():
        device = renamed(device_found(gpu), f"GPU {gpu.index}")
        if gpu.mig is None or not gpu.mig.current:
            device = replace(device, mig=False)
        left = tuple(held.slice for held in device.held)
        yield _facts(gpu), draw.lines([device], (), Placement((), left=left))


def _facts(gpu: GpuFound) -> list[str]:
    mig = "no MIG" if gpu.mig is None else f"MIG {'on' if gpu.mig.current else 'off'}"
    if gpu.mig is not None and gpu.mig.current != gpu.mig.pending:
        mig += f", {'on' if gpu.mig.pending else 'off'} after the next reset"
    running = "could not tell what runs there" if gpu.processes is None else f"{len(gpu.processes)} processes"
    parts = [gpu.uuid, f"{gpu.memory / 2**30:.0f} GiB", mig, running]
    lines = ["; ".join(part for part in parts if part)]
    rows = [f"{each.name} (id {each.id}) {{{_starts(each.starts)}}}:{each.size}" for each in gpu.profiles]
    if rows:
        lines += textwrap.wrap(f"profiles: {'  '.join(rows)}", 80, break_long_words=False)
    return lines + [f"could not tell {fact}: {why}" for fact, why in gpu.could_not_tell.items()]


def _starts(starts: tuple[int, ...]) -> str:
    return ",".join(map(str, starts))


def gpus_of(spec: SiteSpec, machine: Machine | None = None) -> Gpus:
    """Place what the file asks for; with a ``machine``, on its devices as they are.

    Raises :class:`DoesNotFit` with the conflict in words, :class:`NotFound` for a file that has no devices.
    """
    asked, there = _there(spec, machine)
    allocation = allocate(spec, _devices(there))
    if machine is None:
        return Gpus(spec.name, allocation)
    missing = [each for each in asked if each.id not in there]
    return Gpus(
        spec.name,
        allocation,
        {name: told_of(gpu, simulated=machine.origin == "simulated") for name, gpu in there.items()},
        sharing_of(machine),
        tuple(f"{each.id} at {each.pci_address or 'no address'} is not in the inventory" for each in missing),
    )


def explained(spec: SiteSpec, machine: Machine | None, what: str | None) -> Answer:
    """What fits beside what the file asks for, and what would without some of it; see :func:`answer`."""
    asked, there = _there(spec, machine)
    return answer(observed(asked, _devices(there)), demands_of(spec), what)


def _there(spec: SiteSpec, machine: Machine | None) -> tuple[tuple[Device, ...], dict[str, GpuFound]]:
    """The file's devices, and those of them that the machine has, by their names."""
    asked = devices_of(spec)
    if not asked:
        raise NotFound(
            "the file has no GPUs of this machine's in it",
            where="global.gpu_allocation.devices",
            todo="List them there; `ai-how gpu inventory` shows what this machine has.",
        )
    found = {gpu.pci_address.lower(): gpu for gpu in (machine.gpus if machine else None) or ()}
    return asked, {each.id: found[at] for each in asked if (at := each.pci_address.lower()) in found}


def _devices(there: Mapping[str, GpuFound]) -> tuple[Device, ...]:
    return tuple(renamed(device_found(gpu), name) for name, gpu in there.items())
