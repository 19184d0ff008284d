"""Slurm's notation for durations."""

from __future__ import annotations

import re

_FORMS = (
    re.compile(r"^(?P<minutes>\d+)$"),
    re.compile(r"^(?P<minutes>\d+):(?P<seconds>\d+)$"),
    re.compile(r"^(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)$"),
    re.compile(r"^(?P<days>\d+)-(?P<hours>\d+)(?::(?P<minutes>\d+)(?::(?P<seconds>\d+))?)?$"),
)
_SECONDS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}


def seconds(text: str) -> int:
    """The seconds that a Slurm time stands for.

    The forms are those of ``sbatch --time``: ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``,
    ``days-hours``, ``days-hours:minutes`` and ``days-hours:minutes:seconds``. Raises :class:`ValueError`.
    """
    for form in _FORMS:
        if match := form.match(text.strip()):
            return sum(_SECONDS[unit] * int(value) for unit, value in match.groupdict().items() if value)
    raise ValueError(f"'{text}' is no time; write minutes, HH:MM:SS or D-HH:MM:SS")


def render(total: int) -> str:
    """``D-HH:MM:SS`` or ``HH:MM:SS``, the form that Slurm itself prints."""
    days, rest = divmod(total, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    clock = f"{hours:02d}:{minutes:02d}:{secs:02d}"
    return f"{days}-{clock}" if days else clock
