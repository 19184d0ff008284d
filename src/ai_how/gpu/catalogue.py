"""The kinds of GPU that are known, with their MIG profiles, and how their names are understood.

Tables: NVIDIA's MIG user guide ("Supported MIG Profiles") and captures of ``nvidia-smi mig -lgip`` and ``-lgipp``. A
kind marked ``inferred`` follows from its family and was not read from a device. What NVML says on a real machine wins
over this table: names change with the driver.
"""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches

from ai_how.gpu.model import Kind, Profile

#: The family of eight memory and seven compute slices: name pattern, compute, size, starts, maximum, id.
_EIGHT = (
    ("1g.{0}gb", 1, 1, (0, 1, 2, 3, 4, 5, 6), 7, 19),
    ("1g.{0}gb+me", 1, 1, (0, 1, 2, 3, 4, 5, 6), 1, 20),
    ("1g.{1}gb", 1, 2, (0, 2, 4, 6), 4, 15),
    ("2g.{1}gb", 2, 2, (0, 2, 4), 3, 14),
    ("3g.{2}gb", 3, 4, (0, 4), 2, 9),
    ("4g.{2}gb", 4, 4, (0,), 1, 5),
    ("7g.{3}gb", 7, 8, (0,), 1, 0),
)
#: Suffixes of Blackwell's workstation GPUs: what stands behind the name, whether it holds the one set of media engines.
_SUFFIXES = {"": False, "+me": True, "+gfx": False, "+me.all": True, "-me": False}


def _profile(
    name: str, compute: int, size: int, starts: tuple[int, ...], maximum: int, number: int
) -> Profile:
    memory = int(name.split(".")[1].partition("gb")[0])
    return Profile(name, compute, size, starts, maximum, number, memory, media="+me" in name)


def _eight(
    key: str, short: str, architecture: str, memory: tuple[int, int, int, int], *products: str
) -> Kind:
    """A kind of the family of eight memory slices; ``memory`` is what stands in the names, in GB."""
    rows = (_profile(row[0].format(*memory), *row[1:]) for row in _EIGHT)
    return Kind(key, short, products, memory[3], 7, 8, tuple(rows), architecture=architecture)


def _workstation(
    key: str, memory: int, parts: int, unit: int, engines: int, ids: str, *products: str
) -> Kind:
    """A workstation GPU of Blackwell: ``parts`` compute slices on a grid of ``unit`` memory slices each.

    ``ids`` lists every profile with its number. ``engines`` are its decoders: ``1g`` takes one of them, ``+me.all`` and
    the profile of the whole GPU take all, ``-me`` takes none.
    """
    profiles = []
    for name, number in (row.split() for row in ids.split(", ")):
        compute = int(name[0])
        starts = tuple(range(0, parts * unit, compute * unit))
        suffix = re.sub(r"^\d+g\.\d+gb", "", name)
        everything = suffix == "+me.all" or compute == parts
        taken = 0 if suffix == "-me" else engines if everything else compute
        most = 1 if _SUFFIXES[suffix] else len(starts)
        row = _profile(name, compute, compute * unit, starts, most, int(number))
        profiles.append(replace(row, engines=taken))
    return Kind(
        key,
        key,
        products,
        memory,
        parts,
        parts * unit,
        tuple(profiles),
        architecture="blackwell",
        engines=engines,
    )


#: Profiles with their numbers. Those of the two smaller GPUs are inferred from the largest.
_PRO_6000 = (
    "1g.24gb 14, 1g.24gb+me 21, 1g.24gb+gfx 47, 1g.24gb+me.all 65, 1g.24gb-me 67, "
    "2g.48gb 5, 2g.48gb+gfx 35, 2g.48gb+me.all 64, 2g.48gb-me 66, 4g.96gb 0, 4g.96gb+gfx 32"
)
_PRO_5000 = (
    "1g.24gb 14, 1g.24gb+me 21, 1g.24gb+gfx 47, 1g.24gb+me.all 65, 1g.24gb-me 67, 2g.48gb 0, 2g.48gb+gfx 32"
)
_PRO_4500 = "1g.16gb 14, 1g.16gb+gfx 47, 1g.16gb+me.all 65, 1g.16gb-me 67, 2g.32gb 0, 2g.32gb+gfx 32"

_A30 = Kind(
    "a30",
    "a30",
    ("NVIDIA A30",),
    24,
    4,
    4,
    (
        _profile("1g.6gb", 1, 1, (0, 1, 2, 3), 4, 14),
        _profile("1g.6gb+me", 1, 1, (0, 1, 2, 3), 1, 21),
        _profile("2g.12gb", 2, 2, (0, 2), 2, 5),
        _profile("2g.12gb+me", 2, 2, (0, 2), 1, 6),
        _profile("4g.24gb", 4, 4, (0,), 1, 0),
    ),
    architecture="ampere",
)


def _plain(key: str, memory: int, *products: str) -> Kind:
    """A GPU that cannot be partitioned."""
    return Kind(key, key, products, memory)


KINDS: tuple[Kind, ...] = (
    _A30,
    _eight(
        *("a100-40", "a100", "ampere", (5, 10, 20, 40)),
        *("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB", "NVIDIA A100 40GB PCIe"),
    ),
    _eight(
        *("a100-80", "a100", "ampere", (10, 20, 40, 80)),
        *("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe", "NVIDIA A100-PCIE-80GB"),
    ),
    _eight(
        *("h100-80", "h100", "hopper", (10, 20, 40, 80)),
        *("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM2e"),
    ),
    _eight(
        *("h100-94", "h100", "hopper", (12, 24, 47, 94)),
        *("NVIDIA H100 NVL", "NVIDIA H100 94GB HBM3"),
    ),
    replace(
        _eight(
            *("h100-96", "h100", "hopper", (12, 24, 48, 96)),
            *("NVIDIA GH200 480GB", "NVIDIA GH200 120GB", "NVIDIA H100 96GB HBM3"),
        ),
        inferred=True,
    ),
    replace(
        _eight("h200-141", "h200", "hopper", (18, 35, 71, 141), "NVIDIA H200", "NVIDIA H200 NVL"),
        inferred=True,
    ),
    _eight("b200-180", "b200", "blackwell", (23, 45, 90, 180), "NVIDIA B200"),
    _workstation(
        *("rtx-pro-6000", 96, 4, 3, 4, _PRO_6000),
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    ),
    replace(
        _workstation("rtx-pro-5000", 48, 2, 1, 3, _PRO_5000, "NVIDIA RTX PRO 5000 Blackwell"), inferred=True
    ),
    replace(
        _workstation("rtx-pro-4500", 32, 2, 1, 3, _PRO_4500, "NVIDIA RTX PRO 4500 Blackwell"), inferred=True
    ),
    _plain("v100-16", 16, "Tesla V100-SXM2-16GB", "Tesla V100-PCIE-16GB"),
    _plain("v100-32", 32, "Tesla V100-SXM2-32GB", "Tesla V100-PCIE-32GB", "Tesla V100-SXM3-32GB"),
    _plain("t4", 16, "Tesla T4", "NVIDIA T4"),
    _plain("a2", 16, "NVIDIA A2"),
    _plain("a10", 24, "NVIDIA A10"),
    _plain("a16", 16, "NVIDIA A16"),
    _plain("a40", 48, "NVIDIA A40"),
    _plain("l4", 24, "NVIDIA L4"),
    _plain("l40", 48, "NVIDIA L40"),
    _plain("l40s", 48, "NVIDIA L40S"),
    _plain("quadro-rtx-6000", 24, "Quadro RTX 6000"),
    _plain("rtx-6000-ada", 48, "NVIDIA RTX 6000 Ada Generation"),
    _plain("rtx-a4000", 16, "NVIDIA RTX A4000"),
    _plain("rtx-a5000", 24, "NVIDIA RTX A5000"),
    _plain("rtx-a6000", 48, "NVIDIA RTX A6000"),
    _plain("rtx-3090", 24, "NVIDIA GeForce RTX 3090"),
    _plain("rtx-4090", 24, "NVIDIA GeForce RTX 4090"),
    _plain("rtx-5090", 32, "NVIDIA GeForce RTX 5090"),
)

#: Words in a product's name that tell nothing about its slices.
_NOISE = {
    *("nvidia", "tesla", "geforce", "gpu", "graphics", "card", "generation", "edition", "tensor", "core"),
    *(
        "sxm",
        "sxm2",
        "sxm3",
        "sxm4",
        "sxm5",
        "pcie",
        "hbm2",
        "hbm2e",
        "hbm3",
        "hbm3e",
        "server",
        "workstation",
    ),
    *("max", "q", "blackwell", "hopper", "ampere"),
}
#: What people write for a family, and the kind that is meant when the memory is not said.
_SPOKEN = {
    "a100": "a100-80",
    "h100": "h100-80",
    "h200": "h200-141",
    "b200": "b200-180",
    "gh200": "h100-96",
    "v100": "v100-16",
    "rtx 6000": "rtx-6000-ada",
    "rtx 6000 ada": "rtx-6000-ada",
    "h100 nvl": "h100-94",
    "h200 nvl": "h200-141",
}


def _words(name: str) -> list[str]:
    """A name in words that matter: ``NVIDIA A100-SXM4-80GB`` is ``a100 80``."""
    text = name.lower().partition(" mig ")[0]
    text = re.sub(r"\brtx(?=\d|a\d)", "rtx ", text)
    words = [re.sub(r"^(\d+)g(b|ib)?$", r"\1", word) for word in re.split(r"[^a-z0-9]+", text) if word]
    return [word for word in words if word not in _NOISE and word not in ("gb", "gib", "g")]


def _plainly(name: str) -> str:
    return " ".join(_words(name))


def _index() -> dict[str, Kind]:
    by_key = {kind.key: kind for kind in KINDS}
    index = {_plainly(spoken): by_key[key] for spoken, key in _SPOKEN.items()}
    for kind in KINDS:
        for name in (kind.key, *kind.products):
            index.setdefault(_plainly(name), kind)
        family = kind.short.replace("-", " ")
        index.setdefault(f"{family} {kind.memory_gb}", kind)
    return index


_INDEX = _index()


def kind_of(model: str) -> Kind | None:
    """The kind of GPU that ``model`` names; None when it is not known.

    Understands what NVML reports (``NVIDIA A100-SXM4-80GB``), Slurm's types (``nvidia_a100_80gb_pcie``) and what people
    write (``NVIDIA A100 80GB``, ``a100``). Where the memory is not said, the larger A100 and the usual H100 are meant.
    """
    return _INDEX.get(_plainly(model))


def similar(model: str) -> tuple[str, ...]:
    """Names that are understood and look like ``model``, the nearest first; for a did-you-mean."""
    names = {_plainly(name): name for kind in KINDS for name in (*reversed(kind.products), kind.key)}
    close = get_close_matches(_plainly(model), names, n=3, cutoff=0.5)
    return tuple(dict.fromkeys(names[name] for name in close))


def profile_by_slices(kind: Kind, name: str) -> Profile | None:
    """What the profile ``name`` of another card is called on this ``kind``, by the compute slices that it takes.

    ``1g.5gb`` is the smallest slice of a 40 GB A100; on the 80 GB one the same slice is ``1g.10gb``. Media suffixes are
    kept where the kind has them. None when the kind has no profile of so many compute slices.
    """
    match = re.fullmatch(r"(\d+)g\.(\d+)gb(.*)", name)
    if match is None:
        return None
    # In one family the number of a profile stays the same from card to card.
    family = [other for other in KINDS if other.memory_slices == kind.memory_slices]
    numbers = {found.id for other in family if (found := other.profile(name))}
    by_number = [found for found in kind.profiles if found.id in numbers]
    if len(by_number) == 1:
        return by_number[0]
    compute, memory, suffix = int(match[1]), int(match[2]), match[3]
    same = [found for found in kind.profiles if found.compute == compute]
    alike = [found for found in same if re.sub(r"^\d+g\.\d+gb", "", found.name) == suffix] or same
    if not alike:
        return None
    if not any(compute == 1 and found.size > min(p.size for p in alike) for found in alike):
        return alike[0]
    # The one profile with double memory is meant only when the name says nearly as much memory as it has.
    return min(alike, key=lambda found: (abs(found.memory_gb - memory) > memory // 4, found.size))
