"""A site's Slurm cluster to those who use it: its jobs, its files, its ports; wherever it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_how.run import Share, SshTunnels
from ai_how.slurm.control import Slurm


@dataclass(frozen=True)
class Cluster:
    """``share`` reaches the files that its nodes see, of which ours are under ``folder``.

    ``tunnels`` lead to its nodes' ports where they cannot be reached from here; None where they can. ``apart`` tells
    that the site's own folder is not seen by the nodes: what jobs need is sent, and what they make is brought.
    """

    slurm: Slurm
    share: Share
    folder: Path
    tunnels: SshTunnels | None = None
    apart: bool = False
    binds: tuple[str, ...] = ()

    @property
    def jobs(self) -> Path:
        """A folder a job."""
        return self.folder / "jobs"

    @property
    def logs(self) -> Path:
        """What jobs print, where :attr:`apart`."""
        return self.folder / "log" / "jobs"

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def environments(self) -> Path:
        """Runtime environments that were made there."""
        return self.folder / "envs"
