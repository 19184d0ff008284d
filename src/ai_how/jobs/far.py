"""Jobs of a cluster whose nodes do not see the site's folder: what they need is sent, what they make is brought."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import NotFound
from ai_how.jobs.model import JobFolder, noted_id
from ai_how.jobs.run_files import EXPERIMENT, Recorded, meta_files, recorded
from ai_how.providers.cluster import Cluster

#: Where a job that cannot reach the tracking server writes its run down; MLflow's own form, in the job's folder.
TRACKING = "tracking"


@dataclass(frozen=True)
class Far:
    """The folders of jobs on the cluster, beside those here of the same names."""

    cluster: Cluster

    def folder(self, here: JobFolder) -> JobFolder:
        """The job's folder there."""
        return JobFolder(self.cluster.jobs / here.path.name)

    def log(self, name: str) -> Path:
        """Where the job prints to there; ``name`` is that of its log here."""
        return self.cluster.logs / name

    def send(self, here: JobFolder, run_id: str) -> None:
        """Copy what a job needs: its recipe, its facts, and a run to write to. In two round trips."""
        there = self.folder(here)
        sources = {
            there.path / path.relative_to(here.path): path
            for path in here.scripts.rglob("*")
            if path.is_file()
        }
        self.cluster.share.put({**sources, there.facts: here.facts}, mode=0o600)
        if run_id:
            root = there.path / TRACKING
            self.cluster.share.write({root / name: text for name, text in meta_files(root, run_id).items()})

    def withdraw(self, here: JobFolder) -> None:
        """Take back a job that was never submitted."""
        self.cluster.share.remove(self.folder(here).path)

    def tracking_uri(self, here: JobFolder) -> str:
        """MLFLOW_TRACKING_URI of the job."""
        return f"file://{self.folder(here).path / TRACKING}"

    def bring_run(self, here: JobFolder, run_id: str, *, artifacts: bool = False) -> Recorded:
        """The parameters and metrics that the job has recorded up to now; with ``artifacts``, these too."""
        local = here.path / TRACKING
        for part in ("metrics", "params", *(("artifacts",) if artifacts else ())):
            place = Path(EXPERIMENT, run_id, part)
            with suppress(NotFound):  # nothing of that kind yet
                self.cluster.share.fetch(self.folder(here).path / TRACKING / place, local / place)
        return recorded(local, run_id)

    def bring_output(self, here: JobFolder) -> None:
        """All that the job has put out: results and models."""
        with suppress(NotFound):  # it may have failed before it made the folder
            self.cluster.share.fetch(self.folder(here).output, here.output)

    def bring_log(self, log: Path) -> None:
        """What the job has printed since it was last brought, added to the log here."""
        size = log.stat().st_size if log.exists() else 0
        more = self.cluster.share.read_on(self.log(log.name), size)
        if more or not log.exists():
            log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # To its own place, not to the end: another process may bring the same at this moment.
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
                file.seek(size)
                file.write(more)

    def noted(self, here: JobFolder) -> int:
        """The id that the job itself has written down; 0 while it has not begun."""
        try:
            return noted_id(self.cluster.share.read(self.folder(here).path / "job_id"))
        except NotFound:
            return 0
