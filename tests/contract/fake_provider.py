"""A provider that keeps its services in memory: what a test of the rooms above may hold in its hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ai_how.errors import StepFailed
from ai_how.providers.model import Observation, Observed, State, Undo
from ai_how.services import Service


@dataclass
class FakeProvider:
    """``broken`` names services that never become healthy; ``silent`` those whose health cannot be told."""

    supervised: bool = False
    defined: dict[str, Service] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    pids: int = 100

    def observe(self, wanted: Sequence[Service]) -> Observed:
        names = {service.name for service in wanted}
        found = {service.name: self._look(service) for service in wanted}
        return Observed(found, tuple(sorted(set(self.defined) - names)), (), self.supervised)

    def _look(self, service: Service) -> Observation:
        name = service.name
        if name not in self.running:
            made = service.initialisation is None or name in self.data
            return Observation(name, State.STOPPED if made and name in self.defined else State.ABSENT)
        digest = self.defined[name].digest
        healthy = None if name in self.silent else name not in self.broken
        return Observation(name, State.RUNNING, healthy, self.running[name], digest)

    def open(self) -> Undo:
        was, self.supervised = self.supervised, True
        return (lambda: None) if was else self.close

    def sweep(self) -> None:
        """Nothing strays here."""

    def create(self, service: Service) -> Undo:
        was_defined, had_data = service.name in self.defined, service.name in self.data
        self.defined[service.name] = service
        if service.initialisation is not None:
            self.data.add(service.name)

        def undo() -> None:
            self.running.pop(service.name, None)
            if not was_defined:
                self.defined.pop(service.name, None)
            if not had_data:
                self.data.discard(service.name)

        self._start(service, undo)
        return undo

    def change(self, service: Service) -> Undo:
        former = self.defined[service.name]

        def undo() -> None:
            self.defined[service.name] = former
            self._run(service.name)

        self.defined[service.name] = service
        self._start(service, undo)
        return undo

    def _start(self, service: Service, undo: Undo) -> None:
        if service.name in self.broken:
            undo()
            raise StepFailed(f"{service.name} does not stay up")
        self._run(service.name)

    def _run(self, name: str) -> None:
        self.pids += 1
        self.running[name] = self.pids

    def stop(self, name: str) -> None:
        self.running.pop(name, None)

    def destroy(self, name: str) -> None:
        self.running.pop(name, None)
        self.defined.pop(name, None)

    def close(self, services: Sequence[Service] = ()) -> None:
        self.running.clear()
        self.supervised = False
