"""Knows at every moment which replicas there are: looks at the routes and the endpoint records, and joins them anew
when one of them has changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from ai_how.errors import AiHowError, NotFound
from ai_how.run import Clock
from ai_how.security import read_private
from ai_how.serving.gateway.endpoints import EndpointSource
from ai_how.serving.gateway.model import Replica
from ai_how.serving.gateway.seats import Seat, Served, join
from ai_how.wire import Routes

log = logging.getLogger("ai_how.gateway")

# File systems keep time in ticks: a second change within so many seconds of one may not show.
_TICK = 0.05
_AGAIN = 0.01


class RouteSource(Protocol):
    """Where the gateway learns which replicas may be asked."""

    def routes(self) -> Routes | None: ...


class RouteFile:
    """The reconciler's file. A look costs one ``stat`` while nothing changes.

    A file that is not there, as before the reconciler's first word, says nothing: None. One that cannot be used
    leaves what was known.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._mark: tuple[int, int, int] | None = None
        self._again = 0.0
        self._found: Routes | None = None

    def routes(self) -> Routes | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._mark, self._found = None, None
            return None
        mark = (found.st_mtime_ns, found.st_ino, found.st_size)
        now = self._clock.now()
        if mark != self._mark or (self._again and now >= self._again):
            self._mark = mark
            self._again = now + _AGAIN if abs(now - found.st_mtime_ns / 1e9) < _TICK else 0.0
            self._read()
        return self._found

    def _read(self) -> None:
        try:
            found = Routes.model_validate_json(read_private(self._path))
        except NotFound:
            self._found = None
        except AiHowError as error:
            log.error("routes ignored: %s", error.message)
        except ValidationError as error:
            log.error("routes ignored: %d fields are not as they should be", error.error_count())
        else:
            if found != self._found:
                self._found = found


class NoRoutes:
    """No reconciler says anything: whoever has a record may be asked."""

    def routes(self) -> Routes | None:
        return None


class Directory:
    """The models and their replicas as they are now."""

    def __init__(self, endpoints: EndpointSource, routes: RouteSource, workers: int = 1) -> None:
        self._endpoints = endpoints
        self._source = routes
        self._workers = workers
        self._replicas: tuple[Replica, ...] | None = None
        self._routes: Routes | None = None
        #: A replica stands in the routes of which no record has been seen yet.
        self._missing = False
        self._models: dict[str, Served] = {}
        self.seats: dict[str, Seat] = {}

    def models(self) -> Mapping[str, Served]:
        """The models by name. The same object comes back while nothing has changed."""
        routes = self._source.routes()
        replicas = self._endpoints.replicas(eager=self._missing)
        if replicas is not self._replicas or routes is not self._routes:
            self._join(routes, replicas)
            if self._missing and (again := self._endpoints.replicas(eager=True)) is not replicas:
                self._join(routes, again)
        return self._models

    def _join(self, routes: Routes | None, replicas: tuple[Replica, ...]) -> None:
        self._routes, self._replicas = routes, replicas
        self._models = join(routes, replicas, self.seats, self._workers)
        known = {replica.record.nonce for replica in replicas}
        self._missing = routes is not None and any(
            one.nonce not in known for model in routes.models for one in model.replicas
        )

    def replicas(self) -> tuple[Replica, ...]:
        """Everybody who has a record, whatever the routes say."""
        return self._endpoints.replicas()

    @property
    def generation(self) -> int:
        """That of the routes by which was chosen last; 0 without routes."""
        return self._routes.generation if self._routes else 0
