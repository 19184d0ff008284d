"""What a site keeps about itself: whose it is, its ports, its secrets, and the journal of what was done."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ai_how.errors import AiHowError
from ai_how.run import write_whole
from ai_how.services import Layout


class SiteState:
    """The ``state`` folder. Every file is replaced whole, so that a crash leaves the old one or the new one."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()

    @property
    def lock_path(self) -> Path:
        return self._layout.state / "lock"

    @property
    def folder(self) -> Path:
        """The site's folder."""
        return self._layout.root

    @property
    def exists(self) -> bool:
        return (self._layout.state / "site.json").exists()

    def strange(self) -> list[str]:
        """What is in the folder though no site ever was; nothing where there is one, or no folder."""
        if self.exists or not self.folder.is_dir():
            return []
        ours = {folder.name for folder in self._layout.folders}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in ours)

    def make_folders(self, *, shared_with_accounts: bool) -> None:
        """The site's folders, for their owner alone; passable when a service runs under another account."""
        if shared_with_accounts:
            _make_passable(self.folder.parent)
        for folder in self._layout.folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shared_with_accounts:
            for folder in (self._layout.root, self._layout.data, self._layout.run):
                folder.chmod(0o711)

    def remove(self) -> None:
        """Take the site's folder away, by whoever holds the lock: what says whose it is, and the lock, at last.

        Killed half way it is still a site that can be destroyed.
        """
        for path in self.folder.iterdir():
            if path == self._layout.state:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.rmtree(self._layout.state)
        try:
            self.folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # With the lock gone another `up` may have begun there already: that is its own.

    def identity(self) -> Mapping[str, Any]:
        """Name and file of the site; empty before its first ``up``."""
        return self._read("site.json")

    def set_identity(self, name: str, file: Path) -> None:
        facts = self.identity() or {"created": time.time()}
        self._write("site.json", {**facts, "name": name, "file": str(file)})

    def ports(self) -> Mapping[str, int]:
        return self._read("ports.json")

    def set_ports(self, ports: Mapping[str, int]) -> None:
        # Ports of nodes that are gone stay recorded: the nodes get them again when they come back.
        self._write("ports.json", {**self.ports(), **ports})

    def restore_ports(self, ports: Mapping[str, int]) -> None:
        """Exactly these, as they were before a run that failed."""
        self._write("ports.json", ports)

    def secrets(self, names: Iterable[str], *, make: bool) -> Mapping[str, str]:
        """The site's secrets; those that are not there are made, or left empty."""
        found = {}
        for name in names:
            path = self._layout.secrets / name
            if not path.exists() and make:
                write_whole(path, secrets.token_urlsafe(32))
            found[name] = path.read_text() if path.exists() else ""
        return found

    def journal(self, **facts: object) -> None:
        """Append one event to the journal, whole or not at all. Raises :class:`OSError` when the disk refuses."""
        line = json.dumps({"time": round(time.time(), 3), "pid": os.getpid(), **facts}).encode() + b"\n"
        with self._lock, (self._layout.state / "journal.jsonl").open("ab", buffering=0) as stream:
            before = stream.seek(0, os.SEEK_END)
            if stream.write(line) != len(line):
                stream.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), stream.name)

    def _read(self, name: str) -> dict[str, Any]:
        path = self._layout.state / name
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            raise AiHowError(
                "the site's state cannot be read",
                where=str(path),
                cause=str(error),
                todo="Put the file back from a backup, or remove it: what it holds is found out anew.",
            ) from error

    def _write(self, name: str, facts: Mapping[str, object]) -> None:
        write_whole(self._layout.state / name, json.dumps(facts, indent=2))


def _make_passable(folder: Path) -> None:
    """Make what is missing above a site so that an account of a service gets through, whatever the umask is."""
    if not folder.exists():
        _make_passable(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
