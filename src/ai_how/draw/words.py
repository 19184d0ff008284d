"""Numbers as people read them, with their units."""

from __future__ import annotations

THIN = "\u202f"
"""A narrow space that does not break: between a number and its unit."""


def seconds(value: float) -> str:
    """``0.4 s``, ``12.3 s``, ``151 s``."""
    return f"{value:.0f}{THIN}s" if value >= 99.95 else f"{value:.1f}{THIN}s"


def duration(value: float) -> str:
    """``48 s``, ``2 min 31 s``, ``1 h 2 min``, ``3 d 4 h``."""
    whole = round(value)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    if whole < 86400:
        return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"
    return f"{whole // 86400}{THIN}d {whole % 86400 // 3600}{THIN}h"


def milliseconds(value: float) -> str:
    """``8.7 ms``, ``120 ms``, and seconds from ten thousand on."""
    if value >= 9999.5:
        return seconds(value / 1000)
    return f"{value:.0f}{THIN}ms" if value >= 9.95 else f"{value:.1f}{THIN}ms"


def percent(share: float) -> str:
    """``98.6 %``; 100 only for all of it, 0 only for none."""
    value = round(share * 100, 1)
    if 0 < share < 1:
        value = min(max(value, 0.1), 99.9)
    return f"{value:g}{THIN}%"


def memory(size: int | None) -> str:
    """Bytes in binary units; "not recorded" for None."""
    if size is None:
        return "not recorded"
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f}{THIN}{unit}" if unit == "B" or value >= 10 else f"{value:.1f}{THIN}{unit}"
        value /= 1024
    return f"{value:.1f}{THIN}GiB"


def loss(value: float) -> str:
    """Three digits that count: ``4.21``, ``0.0312``."""
    return f"{value:.3g}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.1e}"


def times(larger: float, smaller: float) -> str:
    """How many times larger: ``305×``, ``7.4×``."""
    if smaller <= 0:
        return "∞"
    ratio = larger / smaller
    return f"{ratio:,.0f}×" if ratio >= 10 else f"{ratio:.1f}×"


def count(number: int, noun: str) -> str:
    return f"{number}{THIN}{noun}" if number == 1 else f"{number}{THIN}{noun}s"


def node_list(names: tuple[str, ...]) -> str:
    """``node01–04, node07``: three or more that follow one another are written as a range."""
    groups: list[list[str]] = []
    for name in names:
        if groups and _follows(name, groups[-1][-1]):
            groups[-1].append(name)
        else:
            groups.append([name])
    return ", ".join(
        f"{group[0]}–{_number(group[-1])}" if len(group) > 2 else ", ".join(group) for group in groups
    )


def _follows(name: str, before: str) -> bool:
    number, last = _number(name), _number(before)
    if not number or not last or name.removesuffix(number) != before.removesuffix(last):
        return False
    return int(number) == int(last) + 1


def _number(name: str) -> str:
    """The digits at the end of a name."""
    return name[len(name.rstrip("0123456789")) :]
