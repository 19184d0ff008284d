"""Repairs of what the file says about GPUs that only the catalogue knows of. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ai_how.gpu.catalogue import kind_of, profile_by_slices
from ai_how.gpu.model import Kind
from ai_how.spec.fix import Fix
from ai_how.spec.load import Path

_DEVICES: Path = ("global", "gpu_allocation", "devices")
_DEMANDS: Path = ("global", "gpu_allocation", "demands")


def profiles(data: Any) -> Iterator[Fix]:
    """Profiles that their card does not have, but has under another name: the one with as many compute slices.

    ``data`` is the file as plain data and may be of any shape. A demand's profile is looked at where all the site's
    cards that can be cut are of one kind.
    """
    kinds = []
    for index, device in _listed(data, _DEVICES):
        kind = kind_of(device["model"]) if isinstance(device.get("model"), str) else None
        if kind is None or not kind.profiles:
            continue
        kinds.append(kind)
        allowed = device.get("allowed_mig_profiles")
        for place, name in enumerate(allowed if isinstance(allowed, list) else ()):
            yield from _profile(kind, name, (*_DEVICES, index, "allowed_mig_profiles", place))
    if len(set(kinds)) == 1:
        for index, demand in _listed(data, _DEMANDS):
            yield from _profile(kinds[0], demand.get("profile"), (*_DEMANDS, index, "profile"))


def _profile(kind: Kind, name: Any, path: Path) -> Iterator[Fix]:
    if not isinstance(name, str) or kind.profile(name) is not None:
        return
    right = profile_by_slices(kind, name)
    if right is not None:
        yield Fix("set", path, right.name, "the name of that slice on this card")


def _listed(data: Any, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    for index, item in enumerate(data if isinstance(data, list) else ()):
        if isinstance(item, dict):
            yield index, item
