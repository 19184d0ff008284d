"""Starts, observes and stops replicas."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from ai_how.errors import AiHowError, JobFailed, NotFound, TimedOut
from ai_how.run import Clock, SystemClock, wait_until
from ai_how.security import read_private, write_private
from ai_how.serving.engines import Engine, Place, ServeRequest, read_head
from ai_how.serving.fit import Need, need, read_shape
from ai_how.serving.replicas import plan, render
from ai_how.serving.replicas.model import (
    JobFacts,
    Phase,
    ReplicaResources,
    ReplicaStatus,
    ReplicaWanted,
    Submitter,
)
from ai_how.wire import MODEL_NAME, EndpointRecord

_TAIL_LINES = 25


@dataclass(frozen=True)
class SiteFolders:
    """Where a site keeps what this room writes. ``share`` is the folder that every node sees."""

    share: Path
    state: Path
    log: Path

    @classmethod
    def of(cls, site: Path) -> SiteFolders:
        return cls(share=site / "share", state=site / "state", log=site / "log")

    @property
    def endpoints(self) -> Path:
        return self.share / "endpoints"

    @property
    def replicas(self) -> Path:
        return self.share / "replicas"

    @property
    def wanted(self) -> Path:
        return self.state / "replicas"

    @property
    def job_logs(self) -> Path:
        return self.log / "jobs"


class Replicas:
    """The replicas of a site."""

    def __init__(self, folders: SiteFolders, submitter: Submitter, *, clock: Clock | None = None) -> None:
        self._folders = folders
        self._submitter = submitter
        self._clock = clock or SystemClock()

    def start(
        self,
        request: ServeRequest,
        engine: Engine,
        place: Place,
        resources: ReplicaResources,
        environment: Mapping[str, str] | None = None,
    ) -> ReplicaWanted:
        """Submit a job that serves what is asked; returns at once. ``place`` is where the engine is.

        ``environment`` is what this machine's libraries need besides the engine's own.

        The engine gets as many threads as the job has CPUs.

        Raises :class:`AiHowError` when the engine cannot serve the file, :class:`NotFound` when there is
        none. When Slurm refuses the job, nothing of it stays.
        """
        self._check(request, engine)
        request = replace(request, path=request.path.resolve(), threads=resources.cpus)
        if resources.memory is None:
            resources = replace(
                resources, memory=plan.memory_for(request.path.stat().st_size, _need(request))
            )
        nonce = secrets.token_hex(12)
        name = render.job_name(request.model)
        folder = self._folders.replicas / nonce
        wanted = ReplicaWanted(
            nonce=nonce,
            model=request.model,
            engine=engine.name,
            job_name=name,
            job_id=None,
            submitted=self._clock.now(),
            log=str(self._folders.job_logs / f"{name}-%j.log"),
        )
        script = render.batch_script(
            name=name, folder=folder, log=wanted.log, place=place, resources=resources
        )
        try:
            self._prepare(folder, request, engine, place, wanted, environment or {})
            self._write(wanted)
        except BaseException:
            self._forget(wanted)
            raise
        wanted = self._submit(wanted, script, folder)
        self._write(wanted)
        return wanted

    def _submit(self, wanted: ReplicaWanted, script: str, folder: Path) -> ReplicaWanted:
        try:
            job_id = self._submitter.submit(script, wanted.job_name, folder)
        except TimedOut:
            raise  # Slurm may hold the job all the same: `ps` will adopt it, `stop` will end it
        except AiHowError:
            self._forget(wanted)
            raise
        return wanted.model_copy(update={"job_id": job_id})

    def ps(self) -> tuple[ReplicaStatus, ...]:
        """Every replica that was asked for, oldest first. Clears away records whose job does not run."""
        records = self._records()
        wanted = self._wanted()
        try:
            jobs = self._submitter.jobs()
        except AiHowError as error:
            return tuple(plan.could_not_tell(one, error.message) for one in wanted)
        for record in plan.stale(records, jobs):
            self._withdraw(record.nonce)
        return tuple(self._judge(one, jobs, records) for one in wanted)

    def wait_ready(self, wanted: ReplicaWanted, timeout: float = 600.0) -> ReplicaStatus:
        """Wait until a replica is ready. Raises :class:`JobFailed` with its last lines when it is lost,
        :class:`TimedOut` with the reason of its last phase after ``timeout`` seconds."""
        seen: list[ReplicaStatus] = []

        def look() -> ReplicaStatus | None:
            seen[:] = [one for one in self.ps() if one.wanted.nonce == wanted.nonce]
            if not seen:
                raise JobFailed(f"the replica of {wanted.model} was stopped before it was ready")
            if seen[0].phase is Phase.LOST:
                raise _lost(seen[0])
            return seen[0] if seen[0].phase is Phase.READY else None

        what = f"{wanted.model} (job {wanted.job_id}) becoming ready"
        try:
            return wait_until(look, what=what, timeout=timeout, clock=self._clock)
        except TimedOut as error:
            cause = f"It is {seen[0].phase}: {seen[0].reason}." if seen else None
            todo = "It stays asked for: `ai-how ps` shows when it is ready, `ai-how stop` gives it up."
            raise TimedOut(error.message, cause=cause, todo=todo) from error

    def stop(self, target: str) -> tuple[ReplicaWanted, ...]:
        """Stop the replicas that ``target`` means, a model's name or a job's id; lost ones are forgotten.

        Raises :class:`NotFound` when it means none, :class:`AiHowError` when Slurm does not answer: then
        nothing has been stopped, and nothing is forgotten.
        """
        everyone = self._wanted()
        chosen = plan.select(everyone, target)
        if not chosen:
            served = ", ".join(sorted({one.model for one in everyone})) or "none"
            raise NotFound(f"no replica serves {target!r}", todo=f"Models with replicas: {served}.")
        jobs = self._submitter.jobs()
        return tuple(self._stop(one, jobs) for one in chosen)

    def _stop(self, wanted: ReplicaWanted, jobs: Sequence[JobFacts]) -> ReplicaWanted:
        wanted = plan.adopt(wanted, jobs, self._records())
        # The record first: the gateway must not choose a replica that is going.
        self._withdraw(wanted.nonce)
        if wanted.job_id is not None and plan.active(jobs, wanted.job_id):
            self._cancel(wanted.job_id)
        self._forget(wanted)
        return wanted

    def _cancel(self, job_id: int) -> None:
        try:
            self._submitter.cancel(job_id)
        except AiHowError:
            # It may have ended by itself just then.
            if plan.active(self._submitter.jobs(), job_id):
                raise

    def _check(self, request: ServeRequest, engine: Engine) -> None:
        if not re.fullmatch(MODEL_NAME, request.model):
            raise AiHowError(
                f"{request.model!r} cannot name a model that is served",
                todo="Use letters, digits and . _ : / @ + -, a letter or a digit first.",
            )
        head = read_head(request.path)
        fault = engine.fault(request, head)
        if fault:
            raise AiHowError(f"{engine.name} cannot serve {request.model}: {fault}", where=str(request.path))

    def _prepare(
        self,
        folder: Path,
        request: ServeRequest,
        engine: Engine,
        place: Place,
        wanted: ReplicaWanted,
        environment: Mapping[str, str],
    ) -> None:
        launch = engine.launch(request, place)
        launch = replace(launch, environment={**environment, **launch.environment})
        for private in (self._folders.replicas, self._folders.endpoints, self._folders.wanted, folder):
            private.mkdir(parents=True, exist_ok=True)
            private.chmod(0o700)
        self._folders.job_logs.mkdir(parents=True, exist_ok=True)
        # Copies: the node may not see this installation, and an upgrade must not reach into what runs.
        for source in (*render.LAUNCHER_FILES, *launch.files):
            shutil.copyfile(source, folder / source.name)
        text = render.launch_file(
            launch=launch,
            model=request.model,
            engine=engine.name,
            nonce=wanted.nonce,
            endpoints=self._folders.endpoints,
            engine_log=str(self._folders.job_logs / f"{wanted.job_name}-{{job_id}}.engine.log"),
        )
        write_private(folder / render.LAUNCH_FILE, text)

    def _judge(
        self, wanted: ReplicaWanted, jobs: Sequence[JobFacts], records: Sequence[EndpointRecord]
    ) -> ReplicaStatus:
        adopted = plan.adopt(wanted, jobs, records)
        if adopted is not wanted:
            self._write(adopted)
        return plan.judge(adopted, jobs, records, self._clock.now())

    def _wanted(self) -> tuple[ReplicaWanted, ...]:
        found = []
        for path in self._folders.wanted.glob("[!.]*.json"):
            try:
                found.append(ReplicaWanted.model_validate_json(read_private(path)))
            except NotFound:
                continue  # stopped at this moment by another command
            except ValidationError as error:
                raise AiHowError(
                    "the record of a replica cannot be read",
                    where=str(path),
                    detail=str(error),
                    todo=f"Cancel its job with `scancel`, then remove {path}.",
                ) from error
        return tuple(sorted(found, key=lambda one: (one.submitted, one.nonce)))

    def _records(self) -> tuple[EndpointRecord, ...]:
        found = []
        for path in self._folders.endpoints.glob("[!.]*.json"):
            try:
                found.append(EndpointRecord.model_validate_json(read_private(path)))
            except (NotFound, ValidationError):
                continue  # withdrawn at this moment, or not a launcher's: the gateway ignores it too
        return tuple(found)

    def _write(self, wanted: ReplicaWanted) -> None:
        write_private(self._folders.wanted / f"{wanted.nonce}.json", wanted.model_dump_json(indent=2) + "\n")

    def _withdraw(self, nonce: str) -> None:
        (self._folders.endpoints / f"{nonce}.json").unlink(missing_ok=True)
        (self._folders.endpoints / f"{nonce}.secret").unlink(missing_ok=True)

    def _forget(self, wanted: ReplicaWanted) -> None:
        (self._folders.wanted / f"{wanted.nonce}.json").unlink(missing_ok=True)
        shutil.rmtree(self._folders.replicas / wanted.nonce, ignore_errors=True)


def _need(request: ServeRequest) -> Need | None:
    """What the model needs; None when its file does not tell."""
    try:
        return need(read_shape(request.path), request.context, request.slots, gpu=False)
    except AiHowError:
        return None


def _lost(status: ReplicaStatus) -> JobFailed:
    return JobFailed(
        f"the replica of {status.wanted.model} did not become ready: {status.reason}",
        where=str(status.wanted.log_path),
        detail=_tail(status.wanted.log_path),
        todo="`ai-how stop` takes it off the list once you have read why.",
    )


def _tail(path: Path | None) -> str | None:
    if path is None or not path.exists():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:]) or None
