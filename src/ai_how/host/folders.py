"""The user's data folder: sites, unpacked programs, runtime environments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import AiHowError

#: Root's own home is closed to the account that PostgreSQL runs as, so root's data lie where a system's do.
OF_ROOT = Path("/var/lib/ai-how")


def data_folder(environ: Mapping[str, str]) -> Path:
    """Where AI-HOW keeps things on this machine.

    $AI_HOW_HOME, else $XDG_DATA_HOME/ai-how, else ``/var/lib/ai-how`` as root and ``~/.local/share/ai-how`` as
    anybody else.
    """
    if environ.get("AI_HOW_HOME"):
        return Path(environ["AI_HOW_HOME"]).absolute()
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]).absolute() / "ai-how"
    if os.geteuid() == 0:
        return OF_ROOT
    home = environ.get("HOME")
    if not home:
        raise AiHowError(
            "there is no place for AI-HOW's data",
            cause="none of AI_HOW_HOME, XDG_DATA_HOME and HOME is set",
            todo="Set AI_HOW_HOME to a folder of yours.",
        )
    return Path(home) / ".local" / "share" / "ai-how"


@dataclass(frozen=True)
class Folders:
    """The folders under the data folder ``home``. None of them need exist before :meth:`make`."""

    home: Path

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> Folders:
        """The folders of whoever runs this; raises :class:`AiHowError` when there is no place for them."""
        return cls(data_folder(environ))

    @property
    def sites(self) -> Path:
        return self.home / "sites"

    @property
    def programs(self) -> Path:
        return self.home / "programs"

    @property
    def environments(self) -> Path:
        return self.home / "envs"

    def make(self) -> Folders:
        """Make them, for their owner alone; as root others may pass through (0711), but not look."""
        try:
            for folder in (self.home, self.sites, self.programs, self.environments):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        except OSError as error:
            raise AiHowError(
                f"the data folder cannot be made: {error.strerror}",
                where=str(self.home),
                todo="Set AI_HOW_HOME to a folder of yours, or make this one writable.",
            ) from error
        return self
