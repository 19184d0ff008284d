"""The existing provider acts: it makes one folder on the cluster, and takes it away again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from ai_how.errors import AiHowError, CouldNotTell, NotFound, StepFailed, UsageError
from ai_how.providers.existing.reach import Reach
from ai_how.providers.model import Observation, Observed, Provider, State, Undo
from ai_how.run import Command, write_whole
from ai_how.services import Service
from ai_how.services.cluster import NAME

#: What says in the folder there whose it is.
MARK = "site.json"
#: What we make in it, and what goes with it.
FOLDERS = ("jobs", "endpoints", "replicas", "models", "log", "envs")
#: What Slurm writes into, and does not make.
_LOGS = "log/jobs"


class ExistingProvider:
    """Satisfies :class:`ai_how.providers.model.Provider` for the one service ``cluster``."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def observe(self, wanted: Sequence[Service]) -> Observed:
        found = {service.name: self._observe(service) for service in wanted}
        return Observed(services=found, supervised=True)

    def _observe(self, service: Service) -> Observation:
        try:
            mark = self._mark()
        except AiHowError as error:
            return Observation(service.name, State.UNKNOWN, detail=_said(error))
        if mark is None:
            return Observation(service.name, State.ABSENT)
        try:
            refused = self._reach.slurm.may_submit()
        except AiHowError as error:
            return Observation(service.name, State.RUNNING, healthy=None, detail=_said(error))
        return Observation(
            service.name,
            State.RUNNING,
            healthy=True,
            digest=mark.get("digest"),
            detail=f"Slurm would take no job: {refused}" if refused else "",
        )

    def _mark(self) -> dict[str, str] | None:
        try:
            text = self._reach.share.read(self._reach.folder / MARK)
        except NotFound:
            return None
        try:
            facts: dict[str, str] = json.loads(text)
        except ValueError as error:
            raise CouldNotTell("the folder on the cluster has a mark that cannot be read") from error
        return facts

    def open(self) -> Undo:
        return _nothing

    def sweep(self) -> None:
        return

    def create(self, service: Service) -> Undo:
        """Make the folder, for its owner alone. One that is there and not ours is left alone.

        Raises :class:`StepFailed` where another site has it.
        """
        reach = self._reach
        mark = self._mark()
        if mark is not None and mark.get("site") != reach.site:
            raise StepFailed(
                f"the folder on the cluster belongs to another site, '{mark.get('site')}'",
                where=f"{reach.existing.host}:{reach.folder}",
                todo="Name another one in the file: clusters.hpc.existing.folder.",
            )
        if mark is None and (there := self._others()):
            raise StepFailed(
                f"the folder on the cluster holds something that is not ours: {', '.join(there[:3])}",
                where=f"{reach.existing.host}:{reach.folder}",
                todo="Name a folder of its own in the file: clusters.hpc.existing.folder.",
            )
        for file in service.files:
            write_whole(file.path, file.text, mode=file.mode)
        paths = [str(reach.folder / name) for name in (*FOLDERS, _LOGS)]
        # The umask alone: `mkdir -m` would leave the folders above to it all the same.
        script = 'umask 077; mkdir -p "$@" && chmod 700 "$@" "${1%/*}"'
        try:
            # First whose it is: an `up` that is cut off here must know its own folder again.
            self._write_mark("" if mark is None else mark.get("digest", ""))
            reach.gate.run(Command(("sh", "-c", script, "make", *paths), timeout=60))
            self._write_mark(service.digest)
        except AiHowError:
            if mark is None:
                with suppress(AiHowError):  # the first error is the one to tell
                    self.remove()
            raise
        return _nothing if mark is not None else self.remove

    def _write_mark(self, digest: str) -> None:
        text = json.dumps({"site": self._reach.site, "digest": digest}, indent=2) + "\n"
        self._reach.share.write({self._reach.folder / MARK: text})

    def _others(self) -> list[str]:
        """What is in the folder, if it is there at all."""
        script = '[ ! -d "$1" ] || ls -A "$1"'
        said = self._reach.gate.run(
            Command(("sh", "-c", script, "look", str(self._reach.folder)), timeout=60)
        )
        return said.stdout.splitlines()

    def change(self, service: Service) -> Undo:
        return self.create(service)

    def stop(self, name: str) -> None:
        """It is no process of ours."""
        return

    def destroy(self, name: str) -> None:
        """Forget it; its data stay there, as those of every service do."""
        return

    def close(self, services: Sequence[Service] = ()) -> None:
        self._reach.close()

    def remove(self) -> None:
        """Take away what is ours there: our folders and the mark, and the folder itself when nothing else is in it.

        Raises :class:`UsageError` for a folder without our mark.
        """
        reach = self._reach
        mark = self._mark()
        if mark is None:
            return
        if mark.get("site") != reach.site:
            raise UsageError(
                f"the folder on the cluster belongs to another site, '{mark.get('site')}': it was left alone",
                where=f"{reach.existing.host}:{reach.folder}",
            )
        reach.share.remove(*(reach.folder / name for name in FOLDERS), reach.folder / MARK)
        script = 'rmdir "$1" 2>/dev/null || true'
        reach.gate.run(Command(("sh", "-c", script, "leave", str(reach.folder)), timeout=60))


class Together:
    """Two providers as one: the cluster's own service goes to the one, every other to the other."""

    def __init__(self, services: Provider, cluster: Provider) -> None:
        self._services = services
        self._cluster = cluster

    def observe(self, wanted: Sequence[Service]) -> Observed:
        own = self._services.observe([one for one in wanted if one.name != NAME])
        there = self._cluster.observe([one for one in wanted if one.name == NAME])
        services = {**own.services, **there.services}
        return Observed(
            {one.name: services[one.name] for one in wanted}, own.extra, own.strays, own.supervised
        )

    def open(self) -> Undo:
        return self._services.open()

    def sweep(self) -> None:
        self._services.sweep()

    def create(self, service: Service) -> Undo:
        return self._of(service.name).create(service)

    def change(self, service: Service) -> Undo:
        return self._of(service.name).change(service)

    def stop(self, name: str) -> None:
        self._of(name).stop(name)

    def destroy(self, name: str) -> None:
        self._of(name).destroy(name)

    def close(self, services: Sequence[Service] = ()) -> None:
        self._services.close([one for one in services if one.name != NAME])
        self._cluster.close()

    def _of(self, name: str) -> Provider:
        return self._cluster if name == NAME else self._services


def _said(error: AiHowError) -> str:
    return f"{error.message}: {error.cause}" if error.cause else error.message


def _nothing() -> None:
    return
