"""The one ledger of a site's GPUs: what the file asks for, placed, and given to nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ai_how.errors import AiHowError
from ai_how.gpu.demand import Entry, demands_of, devices_of, ledger
from ai_how.gpu.model import Conflict, Device, Placement
from ai_how.gpu.plan import place
from ai_how.spec.model import SiteSpec


@dataclass(frozen=True)
class Allocation:
    """The devices, where everything was placed on them, and the node that has each piece."""

    devices: tuple[Device, ...] = ()
    placement: Placement = Placement(())
    entries: tuple[Entry, ...] = ()

    def device(self, device_id: str) -> Device:
        """The device of that id. Raises :class:`KeyError`."""
        return {device.id: device for device in self.devices}[device_id]

    def of_node(self, node: str) -> tuple[Entry, ...]:
        """What one node has."""
        return tuple(entry for entry in self.entries if entry.node == node)


class DoesNotFit(AiHowError):
    """The GPUs cannot meet what the file asks of them."""

    exit_code = 3


def allocate(spec: SiteSpec, found: tuple[Device, ...] = ()) -> Allocation:
    """Place what the file asks for on its devices. ``found`` are devices of an inventory, with what is on them.

    Raises :class:`DoesNotFit` with the conflict in words.
    """
    devices = observed(devices_of(spec), found)
    outcome = place(devices, demands_of(spec)) if devices else Placement(())
    if isinstance(outcome, Conflict):
        nearest = ", ".join(f"{name}: {count}" for name, count in outcome.nearest.items())
        raise DoesNotFit(
            outcome.why,
            where="global.gpu_allocation",
            detail=f"the nearest that fits: {nearest}" if nearest else None,
            todo="Ask for less, or allow other profiles; `ai-how gpu explain` tells what fits.",
        )
    return Allocation(devices, outcome, ledger(spec, outcome))


def observed(asked: tuple[Device, ...], found: tuple[Device, ...]) -> tuple[Device, ...]:
    """The file's devices with what an inventory says is on them; devices belong together by PCI address."""
    there = {device.pci_address.lower(): device for device in found if device.pci_address}
    return tuple(
        replace(device, uuid=real.uuid, kind=real.kind, held=real.held, whole_for=real.whole_for,
                whole_running=real.whole_running, product=real.product, mig_now=real.mig_now)
        if (real := there.get(device.pci_address.lower())) else device
        for device in asked
    )  # fmt: skip
