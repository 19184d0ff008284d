"""Ports of the site's own: chosen once, recorded, and kept."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from ai_how.errors import AiHowError

#: Below the kernel's range for outgoing connections (net.ipv4.ip_local_port_range starts at 32768).
FIRST, LAST = 15000, 32000


def allocate(
    site: str,
    asked: Iterable[tuple[str, int | None]],
    recorded: Mapping[str, int],
    foreign: Mapping[int, str],
    where: Mapping[str, str],
) -> Mapping[str, int]:
    """A port for each name. Pure.

    What the file asks for comes first, then what was recorded, then the next free one. ``foreign`` are the
    ports that somebody else listens on or has recorded, with who that is. Raises :class:`AiHowError` when a
    port that the file asks for is taken; ``where`` says where in the file each was asked for.
    """
    asked = list(asked)
    chosen: dict[str, int] = {}
    for name, port in asked:
        if port is None:
            continue
        if port in foreign:
            raise AiHowError(
                f"port {port} for {name} is taken by {foreign[port]}",
                where=where.get(name),
                todo="Choose another port, or leave the port out: one is chosen then.",
            )
        chosen[name] = port
    used = set(chosen.values()) | set(foreign)
    # Each site begins somewhere else, so that two of them seldom look at the same numbers.
    candidate = FIRST + zlib.crc32(site.encode()) % ((LAST - FIRST) // 100) * 100
    for name, port in asked:
        if port is not None:
            continue
        if name in recorded and recorded[name] not in used:
            chosen[name] = recorded[name]
            used.add(recorded[name])
    reserved = used | set(recorded.values())
    for name, _ in asked:
        if name in chosen:
            continue
        while candidate in reserved:
            candidate = candidate + 1 if candidate < LAST else FIRST
        chosen[name] = candidate
        reserved.add(candidate)
    return chosen
