"""What `down` does on a cluster that exists: replicas end, as nobody could reach them any more; other jobs go on."""

from __future__ import annotations

from dataclasses import replace

from ai_how.errors import AiHowError
from ai_how.providers.existing import Reach
from ai_how.services import Layout
from ai_how.serving.replicas import Replicas, SiteFolders
from ai_how.site.model import Reporter


def end_replicas(reach: Reach, layout: Layout, reporter: Reporter) -> None:
    """End the jobs of all replicas. A cluster that does not answer keeps them to the next `up`, or their time limit."""
    own = SiteFolders.of(layout.root)
    if not any(own.wanted.glob("*.json")):
        return
    try:
        folders = replace(own, share=reach.folder, log=reach.folder / "log")
        replicas = Replicas(folders, reach.slurm, share=reach.share)
        for one in replicas.wanted():
            reporter.note(f"job {one.job_id} ({one.model}) is ended")
            replicas.end(one, active=True)
    except AiHowError as error:
        reporter.note(f"replicas on {reach.existing.host} could not be ended: {error.message}")
    for path in own.endpoints.glob("*"):
        path.unlink(missing_ok=True)
