"""The local provider acts: it writes files, initialises data, and tells supervisord what to run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ai_how.errors import StepFailed, TimedOut
from ai_how.host import disk, search
from ai_how.providers.local import processes, render
from ai_how.providers.local.supervisor import ProcessInfo, Supervisor
from ai_how.providers.model import Observation, Observed, State, Undo
from ai_how.run import Command, Gate, wait_until, write_whole
from ai_how.services import File, Layout, Service
from ai_how.services.health import probe

_DOWN = {"STOPPED", "EXITED", "STOPPING"}
_FAILED = {"FATAL", "BACKOFF", "UNKNOWN"}
_LOG_LINES = 15
_ASKED_AT_ONCE = 8


class LocalProvider:
    """Implements :class:`ai_how.providers.model.Provider` for the site in ``layout``."""

    def __init__(self, layout: Layout, gate: Gate, user: str) -> None:
        self._layout = layout
        self._gate = gate
        self._user = user
        self._supervisor = Supervisor(render.socket(layout))

    def observe(self, wanted: Sequence[Service]) -> Observed:
        supervisor = self._supervisor.pid()
        table = processes.marked(self._layout.root)
        known = self._supervisor.processes() if supervisor else {}
        observations = {service.name: self._at_rest(service, known.get(service.name)) for service in wanted}
        running = [service for service in wanted if observations[service.name].state is State.RUNNING]
        # Side by side: most of them wait for a program of somebody else's to start.
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            for service, wrong in zip(running, pool.map(self._ask, running), strict=True):
                own = table.get(known[service.name].pid)
                observations[service.name] = replace(
                    observations[service.name],
                    healthy=wrong is None,
                    digest=own.digest if own else None,
                    detail=wrong or "",
                )
        names = {service.name for service in wanted}
        defined = {path.stem for path in render.program_file(self._layout, "x").parent.glob("*.conf")}
        return Observed(
            services=observations,
            extra=tuple(sorted((set(known) | defined) - names)),
            strays=processes.strays(table, supervisor),
            supervised=supervisor is not None,
        )

    def _at_rest(self, service: Service, info: ProcessInfo | None) -> Observation:
        """What supervisord and the site's folder tell of a service; one that runs is still to be asked."""
        if info is None or info.state in _DOWN:
            made = service.initialisation is None or service.initialisation.target.exists()
            known_of = render.program_file(self._layout, service.name).exists()
            return Observation(service.name, State.STOPPED if made and known_of else State.ABSENT)
        if info.state in _FAILED:
            detail = info.spawn_error or f"supervisord says {info.state}"
            return Observation(service.name, State.FAILED, detail=detail)
        return Observation(service.name, State.RUNNING, pid=info.pid, since=info.start)

    def _ask(self, service: Service) -> str | None:
        return probe(self._gate, service.probe)

    def open(self) -> Undo:
        layout = self._layout
        if self._supervisor.pid() is not None:
            return _nothing
        for path in (render.folder(layout), render.program_file(layout, "x").parent):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in render.program_file(layout, "x").parent.glob("*.conf"):
            # Of a site whose folder was moved: supervisord would refuse to start over its logs.
            if str(layout.log) not in path.read_text():
                path.unlink()
        config = render.folder(layout) / "supervisord.conf"
        write(File(config, render.supervisord_conf(layout, self._user)))
        # A clean environment: what the services get is what their definitions say, whoever calls `up`.
        words = ("env", "-i", *_environment(layout), sys.executable, "-c", render.SUPERVISORD)
        output = layout.log / "supervisord.out"
        started = self._gate.start(Command((*words, "--configuration", str(config)), cwd=layout.root), output)

        def answers() -> bool:
            if self._supervisor.pid() is not None:
                return True
            if not _alive(started):
                raise StepFailed(
                    "supervisord ended as soon as it was started",
                    where=shlex.join(
                        (sys.executable, "-m", "supervisor.supervisord", "--configuration", str(config))
                    ),
                    detail=tail(output),
                    todo="What it printed is above; nothing of this site runs without it.",
                )
            return False

        wait_until(answers, what="supervisord's start", timeout=60)
        return self.close

    def sweep(self) -> None:
        table = processes.marked(self._layout.root)
        strays = processes.strays(table, self._supervisor.pid())
        processes.end([stray.pid for stray in strays], grace=10)

    def create(self, service: Service) -> Undo:
        undo_data = self._initialise(service)
        was_defined = render.program_file(self._layout, service.name).exists()

        def undo() -> None:
            if was_defined:
                self._supervisor.remove(service.name)
            else:
                self.destroy(service.name)
                for file in service.files:
                    file.path.unlink(missing_ok=True)
            _remove_leavings([service])
            undo_data()

        try:
            self._define(service)
            self._start(service)
        except BaseException:
            undo()
            raise
        return undo

    def change(self, service: Service) -> Undo:
        path = render.program_file(self._layout, service.name)
        former = {file.path: file.path.read_text() for file in service.files if file.path.exists()}
        former_program = path.read_text() if path.exists() else None
        self._supervisor.remove(service.name)

        def undo() -> None:
            self._supervisor.remove(service.name)
            for file in service.files:
                if file.path in former:
                    write(File(file.path, former[file.path], file.mode, file.account))
            if former_program is not None:
                write(File(path, former_program))
                self._supervisor.add(service.name)
                self._supervisor.start(service.name)

        try:
            self._define(service)
            self._start(service)
        except BaseException:
            undo()
            raise
        return undo

    def stop(self, name: str) -> None:
        if self._supervisor.pid() is not None:
            self._supervisor.remove(name)

    def destroy(self, name: str) -> None:
        if self._supervisor.pid() is not None:
            self._supervisor.remove(name)
        render.program_file(self._layout, name).unlink(missing_ok=True)

    def close(self, services: Sequence[Service] = ()) -> None:
        if (pid := self._supervisor.pid()) is not None:
            self._supervisor.stop(dependents(services))
            self._supervisor.shutdown()
            wait_until(lambda: not _alive(pid), what="supervisord's end", timeout=60)
        processes.end(processes.family(self._layout.root), grace=5)
        _remove_leavings(services)

    def _initialise(self, service: Service) -> Undo:
        _place(service)
        once = service.initialisation
        if once is None or once.target.exists():
            return _nothing
        _remove(once.aside)
        once.target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            for command in once.commands:
                self._gate.run(self._marked(command, service))
            if not once.commands:
                once.aside.mkdir(mode=0o700)
            once.aside.rename(once.target)
        except BaseException:
            _remove(once.aside)
            raise
        return lambda: _remove(once.target)

    def _marked(self, command: Command, service: Service) -> Command:
        """Marked, so that what a killed `up` leaves half done is ended before the next one begins it again."""
        marks = {render.SITE_MARK: processes.mark_of(self._layout.root), render.SERVICE_MARK: service.name}
        return replace(command, env={**command.env, **marks})

    def _define(self, service: Service) -> None:
        _place(service)
        write(
            File(render.program_file(self._layout, service.name), render.program_conf(self._layout, service))
        )

    def _start(self, service: Service) -> None:
        self._supervisor.remove(service.name)
        self._supervisor.add(service.name)
        self._supervisor.start(service.name)
        log = render.log_file(self._layout, service.name)
        last = ""

        def healthy() -> bool:
            nonlocal last
            last = probe(self._gate, service.probe) or ""
            if not last:
                return True
            if self._supervisor.process(service.name).state == "FATAL":
                raise StepFailed(
                    f"{service.name} does not stay up",
                    where=str(log),
                    cause=f"{service.purpose}; it ended each time it was started",
                    detail=tail(log),
                    todo="Read the log named above; `ai-how doctor` checks the programs.",
                )
            if full := disk.shortage(self._layout.root, below=disk.NOTHING):
                raise StepFailed(f"{service.name} cannot become healthy: {full}", cause=last)
            return False

        try:
            wait_until(healthy, what=f"{service.name} becoming healthy", timeout=service.start_seconds)
        except TimedOut as error:
            raise StepFailed(
                f"{service.name} did not become healthy within {service.start_seconds:g} s",
                where=str(log),
                cause=last,
                detail=tail(log),
                todo="Read the log named above.",
            ) from error
        for settle in service.settle:
            done = self._gate.run(self._marked(settle.command, service), check=False)
            if not done.ok and not any(text in done.stdout + done.stderr for text in settle.already):
                raise StepFailed(
                    f"{service.name} runs, but could not be set up",
                    where=settle.command.paste(),
                    detail=done.tail() or None,
                )


def dependents(services: Sequence[Service]) -> Mapping[str, Collection[str]]:
    """Who must have ended before a service may: those that start after it. Pure."""
    return {one.name: {other.name for other in services if one.name in other.after} for one in services}


def _remove_leavings(services: Sequence[Service]) -> None:
    for service in services:
        for path in service.leaves:
            path.unlink(missing_ok=True)


def _place(service: Service) -> None:
    for folder in service.folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _own(folder, service.account)
    for file in service.files:
        write(file)
    for file in service.reads:
        if not file.path.exists() or file.path.read_text() != file.text:
            write(file)


def write(file: File) -> None:
    """Write a rendered file whole."""
    write_whole(file.path, file.text, mode=file.mode, account=file.account)


def tail(path: Path, lines: int = _LOG_LINES) -> str | None:
    """The last lines of a log; None when there are none."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    return "\n".join(text.splitlines()[-lines:]) or None


def _environment(layout: Layout) -> tuple[str, ...]:
    env = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "HOME": os.environ.get("HOME", str(layout.root)),
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
        render.SITE_MARK: processes.mark_of(layout.root),
    }
    if "TZ" in os.environ:
        env["TZ"] = os.environ["TZ"]
    if libraries := search.own_libraries(Path(sys.prefix)):
        env["LD_LIBRARY_PATH"] = libraries
    return tuple(f"{key}={value}" for key, value in env.items())


def _own(path: Path, account: str | None) -> None:
    if account is not None:
        shutil.chown(path, user=account)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # The child of a process that does not wait for it stays as a zombie: it has ended all the same.
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _nothing() -> None:
    """Nothing was done, so there is nothing to take back."""
