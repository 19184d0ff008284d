"""A gateway on another machine: what opens it is asked there, and a tunnel leads to it and is kept."""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ai_how.errors import AiHowError, CouldNotTell, UsageError
from ai_how.run import Command, SshGate, SshMaster, SshTarget, SshTunnels
from ai_how.site.door import Door, needed_token

#: Seconds between two looks at a tunnel.
CHECK = 1.0
#: Told when the tunnel breaks, and when it is back.
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Far:
    """A gateway as one names it from here. ``url`` is its address there; without it, ``program`` is asked there.

    ``file`` and ``root`` are paths on that machine; ``config`` is a configuration of ``ssh`` instead of the user's own.
    """

    host: str
    file: str | Path | None = None
    root: str | Path | None = None
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    program: str = "ai-how"
    config: Path | None = None


def question(far: Far) -> Command:
    """What is run on that machine to learn where its gateway is, and what opens it. Pure."""
    named = (("--file", far.file), ("--root", far.root))
    places = (word for option, value in named if value for word in (option, str(value)))
    return Command((far.program, "shell", "--json", *places), timeout=60)


@dataclass(frozen=True)
class Told:
    """What that machine said: the gateway's address there, its token, the file there of certificates to trust."""

    url: str
    token: str = field(repr=False)
    certificates: str | None = None


def told(said: str, far: Far) -> Told:
    """What its answer says. Pure. Raises :class:`CouldNotTell` when it does not."""
    try:
        facts = json.loads(said)
        url = str(facts["OLLAMA_HOST"])
        certificates = str(facts["SSL_CERT_FILE"]) if url.startswith("https:") else None
        return Told(url, far.token or str(facts["OPENAI_API_KEY"]), certificates)
    except (ValueError, KeyError, TypeError) as error:
        # What it said may hold the token: it stays out of the error.
        raise CouldNotTell(
            f"what {far.program} says on {far.host} cannot be read",
            where=far.host,
            cause="it is another version of ai-how",
            todo="Give the gateway's address there with --url, and its token.",
        ) from error


def address(url: str) -> SplitResult:
    """The parts of a gateway's address, the port among them. Pure. Raises :class:`UsageError`."""
    parts = urlsplit(url)
    try:
        if parts.scheme in ("http", "https") and parts.hostname and parts.port:
            return parts
    except ValueError:
        pass  # a port that is none
    raise UsageError(f"{url!r} is no gateway's address", todo="Write it like http://127.0.0.1:8080.")


class Tunnel:
    """A local port that leads to a gateway on another machine, and is made anew when the connection breaks."""

    def __init__(self, master: SshMaster, host: str, port: int, *, notify: Notify | None = None) -> None:
        self._master = master
        self._tunnels = SshTunnels(master)
        self._there = host, port
        self._notify = notify or (lambda text: None)
        self._over = threading.Event()
        self.local = self._tunnels.local(host, port)
        self._keeper = threading.Thread(target=self._keep, name="tunnel", daemon=True)
        self._keeper.start()

    def _keep(self) -> None:
        broken = False
        while not self._over.wait(CHECK):
            if not broken and not self._master.alive:
                broken = True
                self._notify("the connection broke; it is made anew")
            try:
                self._tunnels.local(*self._there)
            except AiHowError as error:
                if not broken:
                    self._notify(f"the tunnel broke ({error.message}); it is made anew")
                broken = True
                continue
            if broken:
                self._notify("the tunnel is back")
            broken = False

    def close(self) -> None:
        """End the tunnel and the connection; the second time does nothing."""
        if self._over.is_set():
            return
        self._over.set()
        self._keeper.join()
        self._master.close()


def tunnelled(far: Far, ca: Path | None = None, *, notify: Notify | None = None) -> Door:
    """The gateway behind ``far``, with a tunnel to it that lasts until it is closed, or this process ends.

    Raises :class:`CouldNotTell` when the machine cannot be reached, :class:`UsageError` without a token.
    """
    if far.url:
        needed_token(far.token, far.url), address(far.url)
    # A connection of its own, in a folder of its own: it ends with this client, and nobody else's ends with it.
    folder = Path(tempfile.mkdtemp(prefix="ai-how-"))
    target = SshTarget(far.host, config_file=far.config)
    master = SshMaster(target, folder / "ssh", ask=sys.stdin.isatty())
    try:
        found = Told(far.url, needed_token(far.token, far.url)) if far.url else _asked(master, far)
        parts = address(found.url)
        if found.certificates and ca is None:
            ca = _fetched(master, found.certificates, folder / "ca.pem")
        assert parts.hostname and parts.port
        tunnel = Tunnel(master, parts.hostname, parts.port, notify=notify)
    except BaseException:
        master.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise

    def close() -> None:
        tunnel.close()
        shutil.rmtree(folder, ignore_errors=True)
        atexit.unregister(close)

    atexit.register(close)
    host, port = tunnel.local
    return Door(f"{parts.scheme}://{host}:{port}", found.token, ca, via=far.host, close=close)


def _asked(master: SshMaster, far: Far) -> Told:
    return told(SshGate(master).run(question(far)).stdout, far)


def _fetched(master: SshMaster, there: str, here: Path) -> Path:
    here.write_text(SshGate(master).run(Command(("cat", there))).stdout, encoding="utf-8")
    return here
