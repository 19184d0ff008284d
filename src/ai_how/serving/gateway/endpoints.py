"""Reads the endpoint records, and again whenever their folder has changed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from ai_how.errors import AiHowError, NotFound
from ai_how.run import Clock
from ai_how.security import read_private
from ai_how.serving.gateway.model import Replica
from ai_how.wire import EndpointRecord

log = logging.getLogger("ai_how.gateway")

# File systems keep time in ticks: a change within this many seconds of another may not show in the folder's.
_TICK = 0.05
# Seconds from one reading to the next for each record but the first; and at most, while somebody waits for a record.
_PAUSE = 0.001
_SOONEST = 0.01

Mark = tuple[int, int, int]


class EndpointSource(Protocol):
    """Where the gateway learns of replicas."""

    def replicas(self, *, eager: bool = False) -> tuple[Replica, ...]:
        """Every replica with a record; ``eager`` where somebody waits for one."""
        ...


class EndpointFolder:
    """The records in a folder. A look costs one ``stat`` while nothing changes; only new files are read.

    Files of other users are passed over, and with ``uid`` every replica that runs as somebody else: where nobody holds
    the records against Slurm's jobs, only the site's own user is believed.
    """

    def __init__(self, folder: Path, clock: Clock, uid: int | None = None) -> None:
        self._uid = uid
        self._folder = folder
        self._clock = clock
        self._changed = -1
        self._next = self._soonest = 0.0
        self._found: tuple[Replica, ...] = ()
        self._known: dict[str, tuple[Mark, Replica | None]] = {}

    def replicas(self, *, eager: bool = False) -> tuple[Replica, ...]:
        """Every replica with a record, ready or not. A folder that is not there yet holds none.

        The more there are, the less often is looked: their heartbeats alone change the folder many times a second.
        """
        now = self._clock.monotonic()
        if now < (self._soonest if eager else self._next):
            return self._found
        try:
            changed = os.stat(self._folder).st_mtime_ns
            if changed != self._changed:
                settled = abs(self._clock.now() - changed / 1e9) > _TICK
                self._found = self._read()
                self._changed = changed if settled else -1
                others = max(len(self._known) - 1, 0)
                self._next = now + others * _PAUSE
                self._soonest = now + min(others * _PAUSE, _SOONEST)
        except FileNotFoundError:
            return ()
        return self._found

    def _read(self) -> tuple[Replica, ...]:
        known: dict[str, tuple[Mark, Replica | None]] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.name.endswith(".json"):
                    continue
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue  # withdrawn between the listing and the look
                mark = (found.st_mtime_ns, found.st_ino, found.st_size)
                before = self._known.get(entry.name)
                if before and before[0] == mark:
                    known[entry.name] = before
                else:
                    known[entry.name] = (mark, self._one(Path(entry.path), found.st_uid))
        self._known = known
        return tuple(replica for _, (_, replica) in sorted(known.items()) if replica)

    def _one(self, path: Path, owner: int) -> Replica | None:
        if owner != os.geteuid():
            log.warning("record=%s ignored: the file is another user's", path.name)
            return None
        replica = _read(path)
        if replica is not None and self._uid not in (None, replica.record.uid):
            log.warning("record=%s ignored: the replica is another user's", path.name)
            return None
        return replica


def _read(path: Path) -> Replica | None:
    try:
        record = EndpointRecord.model_validate_json(read_private(path))
        secret = read_private(path.with_name(record.secret_file)).strip()
    except NotFound:
        return None  # withdrawn between the listing and the reading
    except AiHowError as error:
        log.warning("record=%s ignored: %s", path.name, error.message)
        return None
    except ValidationError as error:
        log.warning("record=%s ignored: %d fields are not as they should be", path.name, error.error_count())
        return None
    return Replica(record=record, secret=secret)
