"""The reconciler's process: its configuration, the socket on which it hears, and when it makes a pass."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai_how.errors import AiHowError, NotFound
from ai_how.providers.existing import reach_of_site
from ai_how.providers.local.render import SERVICE_MARK, SITE_MARK
from ai_how.run import Clock, FileLock, LocalGate, LocalShare, Share, SystemClock
from ai_how.services import Layout
from ai_how.serving.replicas.control import Replicas, SiteFolders
from ai_how.serving.replicas.model import Submitter, Tunnels
from ai_how.serving.replicas.reconciler import Reconciler, Rhythm
from ai_how.serving.replicas.render import Listen
from ai_how.serving.replicas.store import Store
from ai_how.slurm.control import Slurm
from ai_how.wire.routes import Demand

log = logging.getLogger("ai_how.reconciler")

_LARGEST_DATAGRAM = 256 * 1024
#: Seconds between two passes at least, and at most while something is on its way.
_BREATH = 0.02
#: Seconds between two passes at most: by them it is seen that the reconciler lives, however seldom Slurm is asked.
_SHOWN_EVERY = 5.0
_PROGRAMS = ("sbatch", "scancel", "squeue", "scontrol", "sacct", "sinfo")


class ReconcilerConfig(BaseModel):
    """The configuration file, JSON. ``site`` is the site's folder; times in seconds.

    ``programs`` is the folder of Slurm's programs, empty where PATH has them. ``share`` and ``log`` are the folders
    that every node sees, where these are not the site's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = "1.0"
    site: Path
    programs: str = ""
    share: Path | None = None
    log: Path | None = None
    listen: Listen = "loopback"
    usual: float = Field(default=2.0, gt=0)
    eager: float = Field(default=0.5, gt=0)
    nodes: float = Field(default=2.0, gt=0)
    resting: float = Field(default=0.0, ge=0)

    @property
    def folders(self) -> SiteFolders:
        own = SiteFolders.of(self.site)
        return SiteFolders(self.share or own.share, own.state, self.log or own.log, own.run)


@dataclass(frozen=True)
class Cluster:
    """The ways to the cluster whose replicas they are. ``mirror``: the gateway's own endpoint records, where the
    cluster's cannot be read by it."""

    submitter: Submitter
    share: Share
    local: bool = True
    tunnels: Tunnels | None = None
    mirror: Path | None = None
    #: What its nodes see, where that is not the site's own folder: logs are in there, too.
    share_folder: Path | None = None

    def folders(self, config: ReconcilerConfig) -> SiteFolders:
        """Where everything of the site is."""
        found, there = config.folders, self.share_folder
        return found if there is None else replace(found, share=there, log=there / "log")


def load_config(path: Path) -> ReconcilerConfig:
    """Read the configuration. Raises :class:`NotFound`, or :class:`AiHowError` with every mistake in it."""
    try:
        return ReconcilerConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound("the reconciler's configuration file is not there", where=str(path)) from error
    except ValidationError as error:
        raise AiHowError(
            "the reconciler's configuration cannot be used", where=str(path), detail=str(error),
            todo="`ai-how up` writes it anew.",
        ) from error  # fmt: skip


class Direct:
    """The nodes can be reached from here: this machine is a login node of theirs."""

    def local(self, host: str, port: int) -> tuple[str, int]:
        return host, port

    def close(self, host: str, port: int) -> None:
        return


def cluster_of(config: ReconcilerConfig) -> Cluster:
    """The site's cluster: its own, by Slurm's programs and a folder that is here; or one that exists elsewhere."""
    reach = reach_of_site(Layout(config.site))
    if reach is not None:
        there = reach.cluster
        return Cluster(
            submitter=there.slurm,
            share=there.share,
            local=False,
            tunnels=there.tunnels or Direct(),
            mirror=SiteFolders.of(config.site).endpoints,
            share_folder=there.folder,
        )
    programs: Mapping[str, Path] = {}
    if config.programs:
        programs = {name: Path(config.programs) / name for name in _PROGRAMS}
    return Cluster(Slurm(LocalGate(), {}, programs), LocalShare())


class Ear:
    """The datagram socket. Whoever may write into the site's folder may be heard."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        before = os.umask(0o177)
        try:
            self.socket.bind(str(path))
        finally:
            os.umask(before)
        # A pipe of our own: a question to an engine was answered, in another thread.
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)

    def wake(self) -> None:
        """End the wait. May be called from any thread, and from a signal handler."""
        try:
            self._outer.send(b"x")
        except OSError:
            return  # it is awake

    def wait(self, seconds: float) -> None:
        """Until something comes, at most so long."""
        select.select([self.socket, self._inner], [], [], seconds)

    def heard(self) -> tuple[list[Demand], bool, bool]:
        """What the gateway has said since; whether somebody asks for a look; whether the wait was to end."""
        said: list[Demand] = []
        nudged = False
        try:
            woken = bool(self._inner.recv(4096))
        except OSError:
            woken = False
        while True:
            try:
                data = self.socket.recv(_LARGEST_DATAGRAM)
            except OSError:
                return said, nudged, woken
            if not data:
                nudged = True
                continue
            try:
                said.append(Demand.model_validate_json(data))
            except ValidationError:
                log.warning("a datagram of %d bytes that is no demand was ignored", len(data))

    def close(self) -> None:
        for one in (self.socket, self._inner, self._outer):
            one.close()


def serve(config: ReconcilerConfig, cluster: Cluster | None = None, clock: Clock | None = None) -> None:
    """Make passes until SIGTERM. Raises :class:`AiHowError` when it cannot begin, as when another one runs."""
    clock = clock or SystemClock()
    # The marks by which the site knows its daemons. sbatch would hand them on to jobs, which are none.
    for mark in (SITE_MARK, SERVICE_MARK):
        os.environ.pop(mark, None)
    cluster = cluster or cluster_of(config)
    folders = cluster.folders(config)
    with FileLock(folders.state / "reconciler.lock", "reconciler"):
        ear = Ear(folders.demand)
        replicas = Replicas(
            folders, cluster.submitter, share=cluster.share, listen=config.listen, clock=clock
        )
        reconciler = Reconciler(
            replicas,
            cluster.submitter,
            Store(folders),
            local=cluster.local,
            tunnels=cluster.tunnels,
            mirror=cluster.mirror,
            rhythm=Rhythm(config.usual, config.eager, config.nodes, resting=config.resting),
            told=ear.wake,
            clock=clock,
        )
        stop: list[int] = []

        def asked(number: int, frame: object) -> None:
            stop.append(number)
            ear.wake()

        signal.signal(signal.SIGTERM, asked)
        signal.signal(signal.SIGINT, asked)
        log.info("keeps the replicas of %s", config.site)
        try:
            while not stop:
                reconciler.step()
                _wait(ear, reconciler, clock, stop)
        finally:
            reconciler.close()
            ear.close()


def _wait(ear: Ear, reconciler: Reconciler, clock: Clock, stop: list[int]) -> None:
    """Until there is a reason for a pass. While replicas are on their way their records are looked for often."""
    began = clock.monotonic()
    # A pass takes its time; hearing comes first, so that what one pass misses is in the next.
    clock.sleep(max(_BREATH, reconciler.pass_seconds / 2))
    while not stop:
        said, nudged, woken = ear.heard()
        for one in said:
            reconciler.hear(one)
        if nudged:
            reconciler.look_soon()
        if said or nudged or woken:
            return
        left = began + min(reconciler.pause, _SHOWN_EVERY) - clock.monotonic()
        if left <= 0 or reconciler.news():
            return
        ear.wait(min(left, _BREATH) if reconciler.expecting else left)
