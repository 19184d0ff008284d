"""A real site for tests, driven through the command line as anybody would, and looked at from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ai_how.host import Folders
from ai_how.jobs.aside import clear_aside
from ai_how.services import Layout
from ai_how.spec.template import laptop

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
#: A test must never meet a site of the person who runs it.
_OWN = ("AI_HOW_FILE", "AI_HOW_ROOT", "SLURM_CONF", "MLFLOW_TRACKING_URI")


def make_home(owner: int | None = None, run: str | None = None) -> Path:
    """A data folder in a short path, with the user's own runtime environments and unpacked programs.

    It is the same one for all who name the same ``run``.
    """
    home = Path("/tmp", f"aih-{run[:8]}") if run else Path(tempfile.mkdtemp(prefix="aih-", dir="/tmp"))
    home.mkdir(exist_ok=True)
    # As root, PostgreSQL's own account must pass through.
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    usual = Folders.of_user(os.environ).make()
    if owner is None:
        for name, place in (("envs", usual.environments), ("programs", usual.programs)):
            with suppress(FileExistsError):
                (home / name).symlink_to(place)
        return home
    # Somebody else can neither write there nor look around, but may use what is built.
    (home / "envs").mkdir()
    for built in usual.environments.iterdir():
        if built.is_dir():
            (home / "envs" / built.name).symlink_to(built)
    for path in (home, home / "envs"):
        os.chown(path, owner, owner)
    return home


def until(probe: Callable[[], T], what: str | Callable[[], str], timeout: float = 60.0) -> T:
    """Ask until the answer is true."""
    deadline = time.monotonic() + timeout
    while not (answer := probe()):
        assert time.monotonic() < deadline, (
            f"not within {timeout:g} s: {what if isinstance(what, str) else what()}"
        )
        time.sleep(0.1)
    return answer


class LiveSite:
    """The site ``name`` in the data folder ``home``; ``wrap`` goes in front of each command line."""

    def __init__(self, home: Path, name: str, *, wrap: tuple[str, ...] = ()) -> None:
        self.home, self.name, self.wrap = home, name, wrap
        self.folder = home / "files" / name
        self.folder.mkdir(parents=True)
        self.file = self.folder / "cluster.yaml"
        self.root = home / "sites" / name
        self._variables: dict[str, str] | None = None
        self.write()

    def write(self, count: int = 4, *, gateway: int | None = None, tracking: bool = True) -> None:
        """The laptop template with another number of nodes, a port for the gateway, or Slurm and gateway alone."""
        text = laptop(self.name).replace("count: 4 ", f"count: {count} ")
        for name in () if tracking else ("postgresql", "object_store", "mlflow"):
            text = text.replace(f"{name}: {{}}", f"{name}: {{enabled: false}}")
        if gateway is not None:
            text = text.replace("gateway: {} ", f"gateway: {{port: {gateway}}} ")
        self.file.write_text(text)

    # --- the command line -----------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in _OWN}
        return {**kept, "AI_HOW_HOME": str(self.home), "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1"}

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start ``ai-how`` with these words."""
        return subprocess.Popen(
            [*self.wrap, sys.executable, "-I", "-m", "ai_how", *words],
            cwd=self.folder,
            env={**self.environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *words: str, code: int = 0, timeout: float = 150, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``ai-how`` with these words; it must end with ``code`` and without a traceback."""
        with self.start(*words, env=env) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        said = f"ai-how {' '.join(words)} ended with {process.returncode}\n{out}\n{err}"
        assert process.returncode == code, said
        assert "Traceback" not in out + err, said
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def facts(self, *words: str, code: int = 0) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def up(self) -> list[str]:
        """``ai-how up``; the ids of the steps it took."""
        return [f"{step['action']}:{step['target']}" for step in self.facts("up")["steps"]]

    def plan(self) -> list[str]:
        """``ai-how plan``; the ids of the steps that would change something."""
        steps = self.facts("plan")["steps"]
        return [f"{step['action']}:{step['target']}" for step in steps if step["action"] != "nothing"]

    def status(self) -> Any:
        """``ai-how status``, up or not."""
        with self.start("status", "--json") as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode in (0, 1), err
        return json.loads(out)

    def is_up(self) -> bool:
        return bool(self.status()["up"])

    def must_be_up(self) -> Any:
        """The status of a site that is wholly up."""
        status = self.status()
        wrong = [one for one in status["services"] if not one["healthy"]]
        assert status["up"] and status["strays"] == 0, f"{wrong} {status['nodes']} {status['strays']} strays"
        return status

    def shell(self, *words: str, code: int = 0, timeout: float = 120) -> str:
        """Standard output of a command in the site's environment."""
        return self.run("shell", "--", *words, code=code, timeout=timeout).stdout

    # --- Slurm, as its user sees it ---------------------------------------------------------------------

    def slurm(self, *words: str) -> str:
        """What a command of Slurm's prints in the site's environment.

        `ai-how shell` is asked once what that is: asking it each time takes far longer than the commands do.
        """
        if self._variables is None:
            self._variables = self.facts("shell")
        done = subprocess.run(
            [*self.wrap, *words],
            cwd=self.folder,
            env={**self.environment(), **self._variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sbatch(self, *words: str) -> int:
        """Submit; the job's id."""
        log = self.folder / "slurm-%j.out"
        return int(self.slurm("sbatch", "--parsable", f"--output={log}", *words).strip().split(";")[0])

    def job(self, job_id: int) -> dict[str, str]:
        """A job as ``scontrol`` shows it."""
        words = self.slurm("scontrol", "--oneliner", "show", "job", str(job_id)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for_job(self, job_id: int, *states: str, timeout: float = 60) -> dict[str, str]:
        """Wait until the job has one of these states."""
        facts: dict[str, str] = {}

        def there() -> bool:
            facts.clear()
            facts.update(self.job(job_id))
            return facts["JobState"] in states

        until(there, lambda: f"job {job_id} {' or '.join(states)}; it is {facts}", timeout)
        return facts

    def write_down(self) -> None:
        """Wait until slurmctld has written its jobs down, as it does some seconds after they have changed.

        What it is writing just now may be older than the last change: a job of our own shows that it is not.
        """
        name = f"mark-{time.time_ns()}"
        mark = self.sbatch("--hold", f"--job-name={name}", "--wrap=true")

        def written() -> bool:
            with suppress(OSError):  # for an instant there is none
                return name.encode() in (self.root / "data" / "slurmctld" / "job_state").read_bytes()
            return False

        until(written, "slurmctld has written its jobs down")
        self.slurm("scancel", str(mark))

    def printed(self, job_id: int | str) -> str:
        """What a job printed."""
        return (self.folder / f"slurm-{job_id}.out").read_text()

    def sacct(self, *words: str) -> list[list[str]]:
        """Rows of ``sacct``, fields apart."""
        text = self.slurm("sacct", "--parsable2", "--noheader", "--starttime=1970-01-02", *words)
        return [line.split("|") for line in text.splitlines()]

    def states(self) -> dict[int, str]:
        """The state of every job that accounting knows."""
        rows = self.sacct("--allocations", "--format=JobIDRaw,State")
        return {int(row[0]): row[1].split()[0] for row in rows}

    # --- from outside -----------------------------------------------------------------------------------

    @property
    def ports(self) -> dict[str, int]:
        return dict(json.loads((self.root / "state" / "ports.json").read_text()))

    @property
    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / "state" / "journal.jsonl").read_text().splitlines()]

    def processes(self) -> dict[int, str]:
        """Every process of this site, its jobs' too: by mark, by configuration and by where it stands."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                env = (folder / "environ").read_bytes().split(b"\0")
                place = os.readlink(folder / "cwd")
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            marks = (
                f"AI_HOW_SITE={self.root}#".encode(),
                f"SLURM_CONF={self.root}/etc/slurm/slurm.conf".encode(),
            )
            ours = any(word.startswith(marks) for word in env) or Path(place).is_relative_to(self.root)
            if state != "Z" and ours:
                found[int(folder.name)] = words
        return found

    def daemons(self) -> dict[str, int]:
        """The main process of each service."""
        supervisor = self.supervisor()
        found = {}
        for pid in self.processes():
            try:
                parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                env = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            marks = dict(word.split(b"=", 1) for word in env if b"=" in word)
            if parent == supervisor and b"AI_HOW_SERVICE" in marks:
                found[marks[b"AI_HOW_SERVICE"].decode()] = pid
        return found

    def supervisor(self) -> int | None:
        try:
            return int((self.root / "run" / "supervisord.pid").read_text())
        except (OSError, ValueError):
            return None

    def settle(self) -> None:
        """Nothing is served and no job is left, if it is up."""
        if not (self.processes() and self.is_up()):
            return
        for model in {str(one["model"]) for key in ("models", "replicas") for one in self.facts("ps")[key]}:
            self.start("stop", model, "--now").communicate(timeout=120)
        left = "squeue --noheader --format=%i | xargs --no-run-if-empty scancel; squeue --noheader"
        until(lambda: not self.slurm("sh", "-c", left).strip(), "the queue is empty", 120)
        until(lambda: not self.facts("ps")["replicas"], "no replica is left", 120)

    def crash(self) -> None:
        """kill -9 of everything that is the site's, as when the machine goes down."""
        while processes := self.processes():
            for pid in processes:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)

    def remove(self) -> None:
        """Whatever happened: no process, no socket and no folder of the site is left, nor its file's."""
        self.crash()
        clear_aside(Layout(self.root))
        for port in self.ports.values() if (self.root / "state" / "ports.json").exists() else ():
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
