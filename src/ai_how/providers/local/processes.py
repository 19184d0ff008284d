"""The process table: which processes belong to a site, whoever their parent has become."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from ai_how.providers.local.render import DIGEST_MARK, SERVICE_MARK, SITE_MARK
from ai_how.providers.model import Stray
from ai_how.run import write_whole

#: slurmstepd outlives its slurmd on purpose, so that jobs outlive a restart of Slurm's daemons.
_STEP_DAEMON = "slurmstepd"


@dataclass(frozen=True)
class Marked:
    """A process that carries the site's mark."""

    pid: int
    parent: int
    name: str
    service: str
    digest: str
    since: float


def mark_of(root: Path) -> str:
    """What the processes of the site in ``root`` carry in their environment.

    The folder's path alone would not do: another container or chroot may have a site at the same path, and its
    processes be seen from here.
    """
    file = root / "state" / "mark"
    if not file.exists():
        write_whole(file, secrets.token_hex(8))
    return f"{root}#{file.read_text()}"


def marked(root: Path) -> dict[int, Marked]:
    """Every process that was started for the site in ``root`` and still carries its mark."""
    if not (root / "state" / "mark").exists():
        return {}
    mark = mark_of(root)
    found = {}
    for process in psutil.process_iter(["pid", "ppid", "name", "environ", "create_time", "status"]):
        env = process.info["environ"]
        if not env or env.get(SITE_MARK) != mark or process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        found[process.pid] = Marked(
            pid=process.pid,
            parent=process.info["ppid"],
            name=process.info["name"],
            service=env.get(SERVICE_MARK, ""),
            digest=env.get(DIGEST_MARK, ""),
            since=process.info["create_time"],
        )
    return found


def strays(processes: dict[int, Marked], supervisor: int | None) -> tuple[Stray, ...]:
    """Daemons whose supervisor is gone. Pure.

    A process counts when neither it nor one of its parents is a child of the living supervisor, and it is no
    step of a job.
    """
    found = []
    for process in processes.values():
        chain = list(_ancestry(process, processes))
        if any(one.pid == supervisor or one.parent == supervisor for one in chain):
            continue
        if any(one.name.startswith(_STEP_DAEMON) for one in chain):
            continue
        found.append(Stray(process.pid, process.service or "supervisord"))
    return tuple(found)


def _ancestry(process: Marked, processes: dict[int, Marked]) -> Iterator[Marked]:
    current: Marked | None = process
    while current is not None:
        yield current
        current = processes.get(current.parent)


def family(root: Path) -> set[int]:
    """Every process of the site, its jobs' too: the marked ones, all their descendants, and what jobs left behind."""
    pids = set(marked(root)) | left_by_jobs(root)
    for pid in list(pids):
        try:
            pids.update(child.pid for child in psutil.Process(pid).children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    return pids


def left_by_jobs(root: Path) -> set[int]:
    """Processes of jobs, even those that turned away from their parents and outlived the job.

    They carry no mark of ours, but Slurm's own words; and another container's would carry the same.
    """
    configuration = str(root / "etc" / "slurm" / "slurm.conf")
    here = _view("self")
    found = set()
    for process in psutil.process_iter(["environ", "status"]):
        env = process.info["environ"] or {}
        of_job = env.get("SLURM_CONF") == configuration and "SLURMD_NODENAME" in env
        if of_job and process.info["status"] != psutil.STATUS_ZOMBIE and _view(str(process.pid)) == here:
            found.add(process.pid)
    return found


def _view(pid: str) -> tuple[str, str] | None:
    """What a process sees as its mounts and its root; None when that cannot be told."""
    folder = Path("/proc") / pid
    try:
        return str((folder / "ns" / "mnt").readlink()), str((folder / "root").readlink())
    except OSError:
        return None


def end(pids: Iterable[int], *, grace: float) -> None:
    """Ask processes to end, and after ``grace`` seconds make them."""
    alive = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            process.terminate()
            alive.append(process)
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(alive, timeout=grace)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)
