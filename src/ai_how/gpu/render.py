"""One placement, as other tools want to be told of it: mig-parted, ``nvidia-smi mig``, Slurm, virtual machines. Pure.

Every function takes the devices and the ledger's entries, so that all outputs tell the same story.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ai_how.gpu.demand import Entry
from ai_how.gpu.model import Device, Profile, Slice

#: How a host can hand a slice to a virtual machine, or that it cannot, or that nobody looked.
Sharing = Literal["mediated-device", "virtual-function", "none", "unknown"]
SHARING: Mapping[Sharing, str] = {
    "mediated-device": "the kernel has mediated devices and the driver registers vGPU types there",
    "virtual-function": "the driver makes SR-IOV virtual functions, which took the place of mediated devices",
    "none": "the driver on this host offers neither; a whole device can be passed through",
    "unknown": "no inventory of the host says what its driver offers",
}
#: The root of the names that slices get as virtual devices: the same site, device and place, the same UUID.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "ai-how/gpu/slice")


@dataclass(frozen=True)
class Told:
    """What NVML tells of a device beyond the catalogue: its index, its product name, MiB of an instance by profile."""

    index: int
    product: str
    memory_mib: Mapping[str, int] = field(default_factory=dict)


def owner_of(entry: Entry) -> str:
    """Who has it: the node when the ledger names one, else the consumer."""
    return entry.node or entry.grant.consumer


def of_cluster(entries: Sequence[Entry], cluster: str) -> tuple[Entry, ...]:
    """The entries of one cluster's consumers."""
    return tuple(entry for entry in entries if entry.grant.consumer.partition(".")[0] == cluster)


def slices_of(device: Device, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The slices that were granted on one device, by start."""
    found = ((entry.grant.slice, entry) for entry in entries if entry.grant.device == device.id)
    return tuple(entry for _, entry in sorted(((s, e) for s, e in found if s), key=lambda pair: pair[0]))


def whole_of(device: Device, entries: Sequence[Entry]) -> Entry | None:
    """The entry that has the whole of one device."""
    whole = (entry for entry in entries if entry.grant.device == device.id and entry.grant.slice is None)
    return next(whole, None)


def product_of(device: Device) -> str:
    """The device's name as the file or NVML says it; that of its kind when neither does."""
    return device.product or device.kind.products[0]


def profile_of(device: Device, one: Slice) -> Profile:
    """The profile of a slice; raises :class:`KeyError` when the device's kind has none of that name."""
    found = device.kind.profile(one.profile)
    if found is None:
        raise KeyError(f"{device.kind.key} has no profile {one.profile}")
    return found


def indexes(devices: Sequence[Device], told: Mapping[str, Told]) -> dict[str, int]:
    """NVML's index of every device: as it was told, else the rank of the PCI address, which is how NVML counts."""
    ranked = sorted(devices, key=lambda device: (device.pci_address.lower(), device.id))
    rank = {device.id: number for number, device in enumerate(ranked)}
    return {device.id: told[device.id].index if device.id in told else rank[device.id] for device in devices}


def mig_parted(
    devices: Sequence[Device], entries: Sequence[Entry], told: Mapping[str, Told], *, name: str
) -> str:
    """A file for ``nvidia-mig-parted apply --selected-config NAME``: how many of which profile on which device.

    It knows counts and no places: the tool chooses the starts itself. Devices that nobody has are left alone.
    """
    index = indexes(devices, told)
    lines = [
        "# Rendered by ai-how from cluster.yaml. Counts only: where order matters, use the nvidia-smi commands.",
        "version: v1",
        "mig-configs:",
        f"  {name}:",
    ]
    parts = [
        line
        for device in sorted(devices, key=lambda device: index[device.id])
        for line in _parted(device, index[device.id], entries)
    ]
    return "\n".join([*lines, *parts]) + "\n" if parts else "version: v1\n"


def _parted(device: Device, index: int, entries: Sequence[Entry]) -> Iterator[str]:
    granted = slices_of(device, entries)
    if not granted and whole_of(device, entries) is None:
        return
    guess = (
        "" if device.pci_address or device.uuid else "; the number is a guess: the file has no pci_address"
    )
    yield f"    - devices: [{index}]  # {device.id}, {_title(device)}{guess}"
    yield f"      mig-enabled: {'true' if granted else 'false'}"
    if granted:
        yield "      mig-devices:"
        counts = Counter(entry.grant.slice.profile for entry in granted if entry.grant.slice)
        for profile, count in sorted(counts.items()):
            yield f'        "{profile}": {count}'


def nvidia_smi(devices: Sequence[Device], entries: Sequence[Entry], left: Sequence[Slice] = ()) -> str:
    """The commands that bring the devices there by hand, as root, with every start given (``PROFILE-ID:START``).

    ``left`` are slices that nobody asks for and that stay, because work runs on them.
    """
    lines = [
        "#!/bin/sh",
        "# Rendered by ai-how from cluster.yaml. Run as root, with no work on these devices.",
        "set -eu",
    ]
    for device in devices:
        lines += _commands(device, slices_of(device, entries), whole_of(device, entries) is not None, left)
    return "\n".join(lines) + "\n"


def _commands(device: Device, granted: Sequence[Entry], whole: bool, left: Sequence[Slice]) -> Iterator[str]:
    if not granted and not (whole and device.kind.profiles):
        return
    yield f"\n# {device.id}, {_title(device)}: {_counted(granted) if granted else 'as a whole'}"
    which = device.pci_address or device.uuid
    if not which:
        # Its id is the file's own word; a number would be a guess, and cut whatever device has it.
        yield "# No command can name it: write its pci_address in the file."
        return
    if not granted:
        if device.held:
            yield f"nvidia-smi mig -i {which} -dci"
            yield f"nvidia-smi mig -i {which} -dgi"
        yield f"nvidia-smi -i {which} -mig 0"
        return
    yield f"nvidia-smi -i {which} -mig 1"
    if device.kind.architecture == "ampere":
        yield f"# If it says that a reset is pending: nvidia-smi --gpu-reset -i {which}"
    made = [entry for entry in granted if not entry.grant.kept]
    kept = {entry.grant.slice for entry in granted if entry.grant.kept}
    kept |= {one for one in left if one.device == device.id}
    gone = [held.slice for held in device.held if held.slice not in kept]
    if gone and kept:
        yield "# These must go, others stay; `nvidia-smi mig -lgi` shows the id of each, for -dci -gi and -dgi -gi:"
        yield from (f"#   {one.profile} at {one.start}" for one in gone)
        yield "# Only then is there room for what comes next."
        yield '[ "${DESTROYED:-}" = yes ] || { echo "destroy those first, then run with DESTROYED=yes" >&2; exit 1; }'
    elif gone:
        yield f"nvidia-smi mig -i {which} -dci"
        yield f"nvidia-smi mig -i {which} -dgi"
    places = ",".join(
        f"{profile_of(device, entry.grant.slice).id}:{entry.grant.slice.start}"
        for entry in made
        if entry.grant.slice
    )
    if places:
        yield f"nvidia-smi mig -i {which} -cgi {places} -C"
    yield f"nvidia-smi mig -i {which} -lgi"


def simulated_type(device: Device, one: Slice | None) -> str:
    """Slurm's type of a device that does not exist: ``a100``, and ``a100_1g.10gb`` for a slice of it."""
    return f"{device.kind.short}_{one.profile}" if one else device.kind.short


def detected_type(device: Device, one: Slice | None, told: Told | None = None) -> str:
    """Slurm's type of a real device, as slurmd's NVML plugin names it (``gpu_nvml.c``, Slurm 22.05 to 25.05).

    The product name in lower case with underscores for blanks; for a slice cut before its first hyphen and followed by
    the compute slices and the memory in GiB, rounded. What a profile's name has behind a ``+`` is lost there. Drivers
    differ in the MiB they report; without ``told`` the number in the profile's name stands for it.
    """
    known = device.product in device.kind.products
    product = told.product if told else device.product if known else device.kind.products[0]
    name = product.lower().replace(" ", "_")
    if one is None:
        return name
    profile = profile_of(device, one)
    mib = told.memory_mib.get(one.profile) if told else None
    gib = (mib + 512) // 1024 if mib else profile.memory_gb
    return f"{name.partition('-')[0]}_{profile.compute}g.{gib}gb"


def node_gres(
    devices: Sequence[Device], entries: Sequence[Entry], told: Mapping[str, Told]
) -> dict[str, str]:
    """The value of ``Gres=`` for every node of the Slurm cluster that has something: ``gpu:TYPE:COUNT,...``."""
    by_id = {device.id: device for device in devices}
    counts: dict[str, Counter[str]] = {}
    for entry in of_cluster(entries, "hpc"):
        device = by_id[entry.grant.device]
        kind = detected_type(device, entry.grant.slice, told.get(device.id))
        counts.setdefault(owner_of(entry), Counter())[kind] += 1
    return {
        node: ",".join(f"gpu:{kind}:{count}" for kind, count in sorted(kinds.items()))
        for node, kinds in counts.items()
    }


def gres(devices: Sequence[Device], entries: Sequence[Entry], told: Mapping[str, Told]) -> str:
    """For a Slurm whose nodes have the real devices: the lines of ``gres.conf``, and what to add to ``slurm.conf``."""
    nodes = node_gres(devices, entries, told)
    lines = ["# Rendered by ai-how from cluster.yaml.", "# gres.conf: slurmd asks NVML for files and cores."]
    exact = {name for name, one in told.items() if one.memory_mib}
    guessed = [device.id for device in devices if device.id not in exact and slices_of(device, entries)]
    if guessed:
        lines.append(
            f"# The types on {', '.join(guessed)} are predicted; a recorded --inventory makes them exact."
        )
    lines += [f"NodeName={node} AutoDetect=nvml" for node in nodes]
    lines += ["", "# slurm.conf: add to the line of each node."]
    lines += [f"#   NodeName={node} Gres={value}" for node, value in nodes.items()]
    return "\n".join(lines) + "\n"


def mdev_map(devices: Sequence[Device], entries: Sequence[Entry], *, site: str, sharing: Sharing) -> str:
    """``mdev_map.json``: the virtual device of every slice, with its UUID and its owner; whole devices too."""
    facts = {
        "version": 1,
        "site": site,
        "sharing": sharing,
        "why": SHARING[sharing],
        "devices": [
            {
                "id": device.id,
                "pci_address": device.pci_address,
                "model": product_of(device),
                "owner": owner_of(whole) if whole else None,
                "slices": [_virtual(site, device, entry) for entry in slices_of(device, entries)],
            }
            for device in devices
            for whole in (whole_of(device, entries),)
        ],
    }
    return json.dumps(facts, indent=2) + "\n"


def slice_uuid(site: str, one: Slice) -> uuid.UUID:
    """The UUID of a slice as a virtual device; it depends on the site, the device, the start and the profile alone."""
    return uuid.uuid5(NAMESPACE, f"{site}/{one.device}/{one.start}/{one.profile}")


def _virtual(site: str, device: Device, entry: Entry) -> dict[str, object]:
    one = entry.grant.slice
    assert one is not None
    return {
        "uuid": str(slice_uuid(site, one)),
        "profile": one.profile,
        "start": one.start,
        "size": profile_of(device, one).size,
        "owner": owner_of(entry),
        "demand": entry.grant.demand,
    }


def _title(device: Device) -> str:
    return f"{product_of(device)} at {device.pci_address}" if device.pci_address else product_of(device)


def _counted(granted: Sequence[Entry]) -> str:
    counts = Counter(entry.grant.slice.profile for entry in granted if entry.grant.slice)
    return ", ".join(f"{count} x {profile}" for profile, count in sorted(counts.items()))
