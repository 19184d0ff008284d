"""Which TCP ports of this machine are somebody else's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from ai_how.providers.local.processes import marked
from ai_how.services import object_store


def foreign(root: Path, sites: Path) -> Mapping[int, str]:
    """Ports that another program listens on, or that another of the user's sites has recorded, with who it is."""
    own = set(marked(root))
    taken: dict[int, str] = {}
    for file in sites.glob("*/state/ports.json"):
        if file.parent.parent != root:
            taken.update(dict.fromkeys(_recorded(file), f"the site '{file.parent.parent.name}'"))
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid not in own:
            taken[connection.laddr.port] = _holder(connection.pid)
    taken.update(_sockets_of_others())
    return taken


def _sockets_of_others() -> Iterator[tuple[int, str]]:
    """SeaweedFS cannot use a port whose socket file in /tmp is another user's, alive or left behind."""
    for path in object_store.SOCKET_FOLDER.glob("seaweedfs-*.sock"):
        port = object_store.socket_port(path)
        if port is not None and path.stat(follow_symlinks=False).st_uid != os.geteuid():
            yield port, f"another user's socket {path}"


def _recorded(file: Path) -> list[int]:
    try:
        return [int(port) for port in json.loads(file.read_text()).values()]
    except (OSError, ValueError, AttributeError):
        # Another site's broken record is its own affair; its running daemons are seen below all the same.
        return []


def _holder(pid: int | None) -> str:
    if pid is None:
        return "another user's process"
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"
