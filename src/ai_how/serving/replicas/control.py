"""Starts and ends replicas, and keeps the records of those that were asked for."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from ai_how.errors import AiHowError, CouldNotTell, NotFound, TimedOut
from ai_how.run import Clock, LocalShare, Share, SystemClock
from ai_how.security import read_private, write_private
from ai_how.serving.engines import Engine, Launch, ServeRequest, find_engine
from ai_how.serving.replicas import render
from ai_how.serving.replicas.desired import ModelVersion
from ai_how.serving.replicas.model import Check, ReplicaWanted, Submitter
from ai_how.wire import MODEL_NAME, EndpointRecord

log = logging.getLogger("ai_how.reconciler")
_TAIL_LINES = 25


@dataclass(frozen=True)
class SiteFolders:
    """Where a site keeps what this room writes.

    ``share`` and ``log`` are what every node sees, and may be another machine's; ``state`` and ``run`` are here.
    """

    share: Path
    state: Path
    log: Path
    run: Path

    @classmethod
    def of(cls, site: Path) -> SiteFolders:
        return cls(share=site / "share", state=site / "state", log=site / "log", run=site / "run")

    @property
    def endpoints(self) -> Path:
        return self.share / "endpoints"

    @property
    def replicas(self) -> Path:
        """The launch folders: a replica's job runs in the one that bears its nonce."""
        return self.share / "replicas"

    @property
    def wanted(self) -> Path:
        return self.state / "replicas"

    @property
    def serving(self) -> Path:
        """What is wanted of each model, and what is remembered of it."""
        return self.state / "serving"

    @property
    def job_logs(self) -> Path:
        return self.log / "jobs"

    @property
    def routes(self) -> Path:
        return self.run / "routes.json"

    @property
    def demand(self) -> Path:
        return self.run / "demand.sock"

    @property
    def shown(self) -> Path:
        """What `ps` shows, as the reconciler saw it last."""
        return self.run / "serving.json"


class Replicas:
    """The replicas of a site: their records here, their files in the share, their jobs in Slurm.

    ``listen`` says whether engines listen for their own node alone, or for the cluster's other machines.
    """

    def __init__(
        self,
        folders: SiteFolders,
        submitter: Submitter,
        *,
        share: Share | None = None,
        listen: render.Listen = "loopback",
        clock: Clock | None = None,
    ) -> None:
        self.folders = folders
        self._submitter = submitter
        self._share = share or LocalShare()
        self._listen = listen
        self._clock = clock or SystemClock()
        for source in render.LAUNCHER_FILES:
            _source(source)

    def start(self, model: str, version: ModelVersion) -> ReplicaWanted:
        """Submit a job that serves a version of a model; returns at once.

        The record is written before the job is submitted: whoever comes after a crash finds the job by its folder.
        Raises :class:`AiHowError`: when Slurm refuses the job, nothing of it stays. :class:`CouldNotTell` and
        :class:`TimedOut` leave the record: Slurm may hold the job all the same.
        """
        check_name(model)
        nonce = secrets.token_hex(12)
        name = render.job_name(model)
        folder = self.folders.replicas / nonce
        launch = find_engine(version.engine).launch(request_of(model, version), version.place)
        launch = replace(launch, environment={**version.environment, **launch.environment})
        wanted = ReplicaWanted(
            nonce=nonce,
            model=model,
            engine=version.engine,
            job_name=name,
            job_id=None,
            submitted=self._clock.now(),
            log=str(self.folders.job_logs / f"{name}-%j.log"),
            model_version=version.id,
            check=Check(
                path=launch.readiness.path,
                list_key=launch.readiness.list_key,
                name_key=launch.readiness.name_key,
            ),
        )
        script = render.batch_script(
            name=name, folder=folder, log=wanted.log, place=version.place, resources=version.resources
        )
        try:
            self._share.write(self._files(folder, launch, wanted, version.slots))
            self.write(wanted)
        except BaseException:
            self.forget(wanted)
            raise
        return self._submit(wanted, script, folder)

    def _submit(self, wanted: ReplicaWanted, script: str, folder: Path) -> ReplicaWanted:
        try:
            job_id = self._submitter.submit(script, wanted.job_name, folder)
        except (TimedOut, CouldNotTell):
            raise
        except AiHowError:
            self.forget(wanted)
            raise
        wanted = wanted.model_copy(update={"job_id": job_id})
        self.write(wanted)
        return wanted

    def _files(self, folder: Path, launch: Launch, wanted: ReplicaWanted, slots: int) -> Mapping[Path, str]:
        # Copies: the node may not see this installation, and an upgrade must not reach into what runs.
        files = {folder / source.name: _source(source) for source in (*render.LAUNCHER_FILES, *launch.files)}
        files[folder / render.LAUNCH_FILE] = render.launch_file(
            launch=launch,
            model=wanted.model,
            engine=wanted.engine,
            nonce=wanted.nonce,
            endpoints=self.folders.endpoints,
            engine_log=str(self.folders.job_logs / f"{wanted.job_name}-{{job_id}}.engine.log"),
            listen=self._listen,
            slots=slots,
        )
        return files

    def end(self, wanted: ReplicaWanted, *, active: bool) -> None:
        """End a replica's job when it is ``active``, and forget the replica.

        Raises :class:`AiHowError` when Slurm does not answer: then it is not forgotten.
        """
        # The record first: the gateway must not choose a replica that is going.
        self.withdraw(wanted.nonce)
        if wanted.job_id is not None and active:
            self.cancel(wanted.job_id)
        self.forget(wanted)

    def cancel(self, job_id: int) -> None:
        """End a job; that it ended by itself just then is no fault. Raises :class:`AiHowError`."""
        try:
            self._submitter.cancel(job_id)
        except (TimedOut, CouldNotTell):
            raise
        except AiHowError:
            if any(job.id == job_id for job in self._submitter.live_jobs()):
                raise

    # --- records ------------------------------------------------------------------------------------

    def wanted(self) -> tuple[ReplicaWanted, ...]:
        """Every replica that was asked for, the oldest first. Raises :class:`AiHowError` for a broken record."""
        found = []
        for path in self.folders.wanted.glob("[!.]*.json"):
            try:
                found.append(ReplicaWanted.model_validate_json(read_private(path)))
            except NotFound:
                continue  # ended at this moment
            except ValidationError as error:
                raise AiHowError(
                    "the record of a replica cannot be read",
                    where=str(path),
                    detail=str(error),
                    todo=f"Cancel its job with `scancel`, then remove {path}.",
                ) from error
        return tuple(sorted(found, key=lambda one: (one.submitted, one.nonce)))

    def write(self, wanted: ReplicaWanted) -> None:
        write_private(self.folders.wanted / f"{wanted.nonce}.json", wanted.model_dump_json(indent=2) + "\n")

    def forget(self, wanted: ReplicaWanted) -> None:
        """Take away what was made for a replica, but for its logs."""
        (self.folders.wanted / f"{wanted.nonce}.json").unlink(missing_ok=True)
        self._share.remove(self.folders.replicas / wanted.nonce)

    def records(self) -> Mapping[str, EndpointRecord]:
        """The endpoint records by nonce; what is no record is not ours. Raises :class:`CouldNotTell`."""
        found = {}
        for name, text in self._share.read_all(self.folders.endpoints, "*.json").items():
            try:
                record = EndpointRecord.model_validate_json(text)
            except ValidationError:
                log.warning("record=%s ignored: it is not a launcher's", name)
                continue
            if record.record_file == name:
                found[record.nonce] = record
        return found

    def secret(self, nonce: str) -> str:
        """The secret that opens a replica. Raises :class:`NotFound`."""
        return self._share.read(self.folders.endpoints / f"{nonce}.secret").strip()

    def withdraw(self, nonce: str) -> None:
        """Take a replica's endpoint record away, and its secret."""
        self._share.remove(
            self.folders.endpoints / f"{nonce}.json", self.folders.endpoints / f"{nonce}.secret"
        )

    def tail(self, wanted: ReplicaWanted) -> str:
        """The last lines of a replica's log, where the launcher repeats the engine's."""
        return self._share.tail(wanted.log_path, _TAIL_LINES) if wanted.log_path else ""


@cache
def _source(path: Path) -> str:
    """A file of this installation. Read once: another AI-HOW that is installed meanwhile writes other launch files."""
    return path.read_text(encoding="utf-8")


def request_of(model: str, version: ModelVersion) -> ServeRequest:
    """What an engine is told. It gets as many threads as its job has CPUs."""
    return ServeRequest(
        model=model,
        path=Path(version.path),
        context=version.context,
        slots=version.slots,
        threads=version.resources.cpus,
        gpu_layers=version.gpu_layers,
        devices=version.devices,
    )


def check_name(model: str) -> None:
    """Refuse what cannot name a model that is served. Raises :class:`AiHowError`."""
    if not re.fullmatch(MODEL_NAME, model):
        raise AiHowError(
            f"{model!r} cannot name a model that is served",
            todo="Use letters, digits and . _ : / @ + -, a letter or a digit first.",
        )


def check_engine(engine: Engine, request: ServeRequest, head: bytes) -> None:
    """Refuse a file that the engine cannot serve. Raises :class:`AiHowError`."""
    fault = engine.fault(request, head)
    if fault:
        raise AiHowError(f"{engine.name} cannot serve {request.model}: {fault}", where=str(request.path))
