"""The one right form of a value that is nearly right. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from typing import Any

from ai_how.spec.keys import Key

#: How much alike two words must be to be one, from 0 to 1; a second word as much alike as this forbids a repair.
_ALIKE = 0.72
#: What others call it.
_ALIASES = {
    "clusters.hpc.provider": {"kvm": "libvirt", "qemu": "libvirt", "localhost": "local", "ssh": "existing"},
    "clusters.cloud.provider": {"kvm": "libvirt", "qemu": "libvirt", "localhost": "local", "ssh": "existing"},
}
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PCI = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,6})\s*(d|days?|h|hours?|m|min|minutes?)", re.IGNORECASE)
_BASE_60 = re.compile(r"\d+(:[0-5]?\d)+")
_SIZE = re.compile(r"(\d{1,9})\s*(?:gb|gib|g)", re.IGNORECASE)


def one_of(word: str, known: Iterable[str]) -> str | None:
    """The one known word that ``word`` is: in other letters or with other joints, or as the only one much alike."""
    names = list(known)
    same = [name for name in names if _plainly(name) == _plainly(word)]
    close = same or difflib.get_close_matches(word.lower(), names, n=2, cutoff=_ALIKE)
    return close[0] if len(close) == 1 else None


def tidied(key: Key, value: Any, source: str) -> Any:
    """Another form of a value that is right, but that others may misread; None for most.

    Older readers of YAML take 24:00:00 without quotes for a number (base 60), and nvidia-smi writes the domain of a PCI
    address with eight digits, lspci with four.
    """
    if key.kind == "time" and value == source and _BASE_60.fullmatch(source):
        return value
    return _pci_address(value) if key.path[-1] == "pci_address" and isinstance(value, str) else None


def mended(key: Key, value: Any, source: str) -> Any:
    """The right form of a wrong value, written as ``source``; None when it could mean several things."""
    if value is None:  # nobody knows what was to stand there
        return None
    if isinstance(value, str):
        value = value.strip()
    if key.allowed:
        return _allowed(key, value)
    kind = key.kind.removeprefix("list of ").split(",")[0]
    if kind == "integer":
        return _integer(key, value)
    if kind == "true or false":
        return _TRUTHS.get(value.lower()) if isinstance(value, str) else None
    if not isinstance(value, str):
        return source
    repair = _REPAIRS.get(key.path[-1]) or _REPAIRS.get(kind)
    return (repair(value) if repair else None) or value


def _plainly(word: str) -> str:
    return re.sub(r"[-_ .]", "", word).lower()


def _allowed(key: Key, value: Any) -> Any:
    if value in key.allowed:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        same = [one for one in key.allowed if _number(one) == float(value)]
        return same[0] if len(same) == 1 else None
    if not isinstance(value, str):
        return None
    return _ALIASES.get(key.dotted, {}).get(value.lower()) or one_of(value, map(str, key.allowed))


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _integer(key: Key, value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return None
    if re.fullmatch(r"\d{1,9}", value):
        return int(value)
    size = _SIZE.fullmatch(value) if key.path[-1].endswith("_gb") else None
    return int(size[1]) if size else None


def _time(value: str) -> str | None:
    span = _SPAN.fullmatch(value)
    return _span(int(span[1]), span[2][0].lower()) if span else None


def _span(number: int, unit: str) -> str:
    if unit == "d":
        return f"{number}-00:00:00"
    return f"{number:02d}:00:00" if unit == "h" else f"{number // 60:02d}:{number % 60:02d}:00"


def _name(value: str) -> str:
    return re.sub(r"[_ ]+", "-", value.lower())


def _pci_address(value: str) -> str | None:
    """As lspci -D prints it; nvidia-smi writes the domain with eight digits."""
    found = _PCI.fullmatch(value)
    if found is None:
        return None
    domain, bus, device = (int(part or "0", 16) for part in found.groups()[:3])
    right = f"{domain:04x}:{bus:02x}:{device:02x}.{found[4]}"
    return right if right != value else None


def _subnet(value: str) -> str | None:
    try:
        found = str(IPv4Network(value, strict=False)) if "/" in value else value
    except ValueError:
        return None
    return found if found != value else None


def _range(value: str) -> str | None:
    found = re.sub(r"\s*[-–]\s*", "-", value)
    return found if found != value else None


#: By the key's own name, or by its kind.
_REPAIRS: dict[str, Callable[[str], str | None]] = {
    "pci_address": _pci_address,
    "name": _name,
    "names": _name,
    "IPv4 subnet": _subnet,
    "time": _time,
    "range of IPv4 addresses": _range,
}
