"""A replica started by its launcher, as in a Slurm job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from ai_how.serving.engines import Engine, Place, ServeRequest
from ai_how.serving.replicas import render
from ai_how.wire import EndpointRecord

NONCE = "0123456789abcdef01234567"


def has_ended(pid: int) -> bool:
    """Whether a process has, though its parent may not have asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@dataclass
class Running:
    """A launcher that runs, with what it was given."""

    process: subprocess.Popen[str]
    site: Path

    @property
    def record_path(self) -> Path:
        return self.site / "endpoints" / f"{NONCE}.json"

    def record(self) -> EndpointRecord:
        """The record, once there is one."""
        deadline = time.monotonic() + 60
        while not self.record_path.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "no record within 60 s"
            time.sleep(0.01)
        return EndpointRecord.model_validate_json(self.record_path.read_text())

    def child(self) -> int:
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def tree(self) -> list[int]:
        """The launcher's descendants, children before their own."""
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop(0)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            left += map(int, children)
            found += map(int, children)
        return found

    @staticmethod
    def network(pid: int) -> str:
        return os.readlink(f"/proc/{pid}/ns/net")

    def client(self, secret: str | None = None) -> httpx.Client:
        record = self.record()
        secret = (self.site / "endpoints" / record.secret_file).read_text() if secret is None else secret
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        return httpx.Client(base_url=f"http://{record.host}:{record.port}", headers=headers, trust_env=False)

    def end_all(self) -> None:
        """Tell every process to end, as Slurm tells all of a job."""
        for pid in (self.process.pid, *self.tree()):
            os.kill(pid, signal.SIGTERM)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """The launcher's exit status and what it said."""
        self.process.send_signal(number)
        said = self.process.communicate(timeout=60)[1]
        return self.process.returncode, said


def start(
    engine: Engine,
    place: Place,
    model: Path,
    site: Path,
    *,
    expect: str = "tiny",
    timeout: float = 60,
    context: int = 256,
    linger: float = 0.3,
    user: int | None = None,
    listen: render.Listen = "loopback",
) -> Running:
    launch = engine.launch(ServeRequest(model="tiny", path=model, context=context, slots=1), place)
    folder = site / "replica"
    folder.mkdir(parents=True)
    for source in (*render.LAUNCHER_FILES, *launch.files):
        (folder / source.name).write_bytes(source.read_bytes())
    text = render.launch_file(
        launch=launch,
        model=expect,
        engine=engine.name,
        nonce=NONCE,
        endpoints=site / "endpoints",
        engine_log=str(site / "engine-{job_id}.log"),
        listen=listen,
    )
    facts = json.loads(text) | {"heartbeat": 0.2, "linger": linger, "grace": 5.0}
    facts["readiness"]["timeout"] = timeout
    (folder / "launch.json").write_text(json.dumps(facts))
    if user is not None:
        for path in (site, *site.rglob("*")):
            os.chown(path, user, user)
    process = subprocess.Popen(
        [place.python, "-I", str(folder / render.LAUNCHER), str(folder / "launch.json")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SLURM_JOB_ID": "42"},
        user=user,
    )
    return Running(process, site)
