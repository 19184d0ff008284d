"""The gateway as a process of its own, in front of one replica."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from ai_how.security import create_token
from ai_how.serving.gateway.listening import bind


@dataclass(frozen=True)
class Door:
    """Where the gateway listens, a token that opens it, and the folder it works in."""

    url: str
    token: str
    site: Path

    @property
    def log(self) -> Path:
        return self.site / "gateway.log"


@contextmanager
def opened(site: Path, ca: Path | None = None, **more: object) -> Iterator[Door]:
    """A gateway for the replicas of ``site``, until the end of the block; ``more`` goes into its configuration.

    With ``ca`` it speaks TLS, and is known by that certificate.
    """
    token = create_token(site / "tokens.json", "admin")
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    config = {
        "port": port,
        "endpoints": str(site / "endpoints"),
        "token_digests": str(site / "tokens.json"),
        **more,
    }
    path = site / "gateway.json"
    path.write_text(json.dumps(config))
    door = Door(f"{'https' if ca else 'http'}://127.0.0.1:{port}", token, site)
    with door.log.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ai_how.serving.gateway", "--config", str(path)], stderr=log
        )
    try:
        wait_healthy(process, door.url, ca)
        yield door
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def wait_healthy(process: subprocess.Popen[bytes], url: str, ca: Path | None = None) -> None:
    deadline = time.monotonic() + 60
    verify = ssl.create_default_context(cafile=ca) if ca else True
    while True:
        try:
            if httpx.get(f"{url}/healthz", trust_env=False, verify=verify).status_code == 200:
                return
        except httpx.TransportError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
