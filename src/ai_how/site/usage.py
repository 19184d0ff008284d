"""What was used of a site's models: the gateway's counts, joined to Slurm's accounting of the jobs that served."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ai_how.errors import AiHowError, CouldNotTell, UsageError
from ai_how.serving.gateway.usage import HOUR, Row, read_usage
from ai_how.serving.usage import BY, Held, Sum, added, held, shares
from ai_how.site.control import Site


@dataclass(frozen=True)
class Usage:
    """What was used in a period (epoch seconds), summed up. ``unknown`` are the jobs that Slurm does not know;
    ``could_not_tell`` says why no hours are known, when Slurm did not answer."""

    since: float
    until: float
    by: tuple[str, ...]
    sums: tuple[Sum, ...]
    unknown: tuple[str, ...] = ()
    could_not_tell: str = ""

    @property
    def total(self) -> Sum:
        """All of it."""
        all_of_it = Sum(())
        for one in self.sums:
            all_of_it = added(all_of_it, one)
        return all_of_it

    def as_json(self) -> dict[str, object]:
        """The facts for ``--json``."""
        return {
            "since": self.since,
            "until": self.until,
            "by": list(self.by),
            "usage": [one.as_json(self.by) for one in self.sums],
            "total": self.total.as_json(()),
            "unknown_jobs": list(self.unknown),
            "could_not_tell": self.could_not_tell or None,
        }


def usage(
    site: Site, since: float, until: float, by: Sequence[str], only: Mapping[str, str] | None = None
) -> Usage:
    """What was used from ``since`` until ``until``, by what ``by`` names; ``only`` those of a user, a model, a job.

    Counts are kept by the hour: a period begins with the hour in which ``since`` is.
    Raises :class:`UsageError` for a site that was never up, :class:`CouldNotTell` when the counts cannot be read.
    """
    if not site.exists:
        raise UsageError(f"the site '{site.file.spec.name}' was never up", todo="`ai-how up` brings it up.")
    since -= since % HOUR
    try:
        rows = read_usage(site.layout.usage, since, until)
    except sqlite3.Error as error:
        raise CouldNotTell(f"the usage cannot be read: {error}", where=str(site.layout.usage)) from error
    hours, why = _hours(site, rows, since, until)
    # Shares are taken of everybody's use, and only then is looked at those who were asked for.
    names = tuple(dict.fromkeys((*by, *(only or {}))))
    found = shares(rows, hours, names)
    for name, value in (only or {}).items():
        found = tuple(one for one in found if one.key[names.index(name)] == value)
    unknown = () if why else tuple(sorted({row.job for row in rows} - set(hours)))
    return Usage(since, until, tuple(by), _narrowed(found, len(by)), unknown, why)


def _narrowed(sums: Sequence[Sum], width: int) -> tuple[Sum, ...]:
    """Sums by the first names of their keys alone."""
    found: dict[tuple[str, ...], Sum] = {}
    for one in sums:
        key = one.key[:width]
        cut = Sum(key)
        found[key] = added(found.get(key, cut), one)
    return tuple(found.values())


def _hours(site: Site, rows: Sequence[Row], since: float, until: float) -> tuple[dict[str, Held], str]:
    jobs = sorted({int(row.job) for row in rows if row.job.isdigit()})
    if not jobs:
        return {}, ""
    try:
        return held(site.slurm.lives(jobs), since, until, site.clock.now()), ""
    except AiHowError as error:
        return {}, error.message


__all__ = ["BY", "Usage", "usage"]
