"""What a device can hold: which slices stand together, what is still free, every state that can be reached.

A state is a tuple of ``(start, profile)`` in the order of starts. The rules are NVML's: a slice takes ``size`` memory
slices from one of its profile's ``starts``, no memory slice twice; the compute slices of all are at most the device's;
no profile more often than its ``maximum``; one slice at most with the set of media engines; no decoder given twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from ai_how.gpu.model import Kind, Profile

Spot = tuple[int, Profile]
State = tuple[Spot, ...]


def rank(profile: Profile) -> tuple[int, int]:
    """How large a profile is: by its memory in GB, then by its compute slices."""
    return (profile.memory_gb, profile.compute)


def fault(kind: Kind, slices: Iterable[tuple[int, str]]) -> str | None:
    """Why these slices (start, profile's name) cannot stand together on one device; None when they can."""
    spots = []
    for start, name in sorted(slices):
        profile = kind.profile(name)
        if profile is None:
            return f"{kind.key} has no profile {name}"
        if start not in profile.starts:
            return f"{name} cannot start at memory slice {start}"
        spots.append((start, profile))
    for (one, before), (two, after) in zip(spots, spots[1:], strict=False):
        if one + before.size > two:
            return f"{before.name} at {one} and {after.name} at {two} overlap"
    return _too_much(kind, tuple(spots))


def _too_much(kind: Kind, state: State) -> str | None:
    compute = sum(profile.compute for _, profile in state)
    if compute > kind.compute_slices:
        return f"they take {compute} compute slices of {kind.compute_slices}"
    for profile, count in Counter(profile for _, profile in state).items():
        if count > profile.maximum:
            return f"{count} of {profile.name} where at most {profile.maximum} can be"
    if sum(profile.media for _, profile in state) > 1:
        return "the media engines are given twice"
    if kind.engines and sum(profile.engines for _, profile in state) > kind.engines:
        return "more decoders are given than there are"
    return None


def occupied(state: State) -> int:
    """The memory slices that a state takes, as a bit mask."""
    mask = 0
    for start, profile in state:
        mask |= ((1 << profile.size) - 1) << start
    return mask


def free_starts(kind: Kind, state: State, profile: Profile) -> tuple[int, ...]:
    """Where one more slice of ``profile`` could be placed beside ``state``, which is a legal one."""
    compute, same, media, engines = profile.compute, 1, profile.media, profile.engines
    for _, other in state:
        compute += other.compute
        same += other.name == profile.name
        engines += other.engines
        if media and other.media:
            return ()
    if compute > kind.compute_slices or same > profile.maximum or (kind.engines and engines > kind.engines):
        return ()
    taken = occupied(state)
    block = (1 << profile.size) - 1
    return tuple(start for start in profile.starts if not taken & (block << start))


def largest(kind: Kind, state: State, allowed: Iterable[Profile] | None = None) -> Profile | None:
    """The largest profile (by ``rank``) that could still be placed beside ``state``; None when nothing could.

    Of those that are equally large the one with the plainest name: a suffix says what it has less or more of.
    """
    profiles = kind.profiles if allowed is None else allowed
    fitting = [profile for profile in profiles if free_starts(kind, state, profile)]
    return max(fitting, key=lambda profile: (rank(profile), -len(profile.name), profile.name), default=None)


@lru_cache(maxsize=256)
def states(kind: Kind, profiles: tuple[Profile, ...]) -> tuple[State, ...]:
    """Every state of a device of this kind that uses only ``profiles``, the empty one first.

    Every part of a state is a state, so that each of them can be reached from the empty device.
    """
    return tuple(_grow(kind, profiles, (), 0))


def _grow(kind: Kind, profiles: tuple[Profile, ...], state: State, begin: int) -> Iterator[State]:
    yield state
    for start in range(begin, kind.memory_slices):
        for profile in profiles:
            if start in profile.starts:
                longer = (*state, (start, profile))
                if _too_much(kind, longer) is None:
                    yield from _grow(kind, profiles, longer, start + profile.size)
