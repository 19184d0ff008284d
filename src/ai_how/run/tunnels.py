"""Tunnels through the master connection to ports that the cluster's own nodes listen on."""

from __future__ import annotations

import socket

from ai_how.errors import CouldNotTell
from ai_how.run.ssh import SshMaster

#: A port that was free a moment ago may be taken by the next.
_ATTEMPTS = 5


class SshTunnels:
    """Local addresses of (node, port): connections to them leave from the login node.

    The engine must therefore listen where the login node reaches it, behind its secret. Listeners are on 127.0.0.1, and
    keep their ports when the connection broke and is made anew.
    """

    def __init__(self, master: SshMaster) -> None:
        self._master = master
        self._ports: dict[tuple[str, int], int] = {}

    def local(self, host: str, port: int) -> tuple[str, int]:
        """An address here that leads to ``port`` of ``host``; the same one as long as it is asked for.

        Raises :class:`CouldNotTell` when the cluster cannot be reached.
        """
        key = host, port
        if key in self._ports and _listens(self._ports[key]):
            return "127.0.0.1", self._ports[key]
        self._master.open()
        said = ""
        for attempt in range(_ATTEMPTS):
            chosen = self._ports[key] if key in self._ports and not attempt else _free_port()
            done = self._master.control("forward", "-L", _forward(chosen, host, port))
            if done.ok:
                self._ports[key] = chosen
                return "127.0.0.1", chosen
            said = done.tail()
        raise CouldNotTell(
            f"no tunnel to {host}:{port} can be made", where=self._master.target.destination, detail=said
        )

    def close(self, host: str, port: int) -> None:
        """Take a tunnel away; what flows through it ends. Nothing happens when there is none."""
        chosen = self._ports.pop((host, port), None)
        if chosen is not None and self._master.alive:
            self._master.control("cancel", "-L", _forward(chosen, host, port))


def _forward(chosen: int, host: str, port: int) -> str:
    return f"127.0.0.1:{chosen}:{host}:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
