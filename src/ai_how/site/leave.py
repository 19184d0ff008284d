"""What `down` does on a cluster that exists: replicas end, as nobody could reach them any more; other jobs go on.

And `destroy`: they end, too, before the folder that they work in is taken away.
"""

from __future__ import annotations

from dataclasses import replace

from ai_how.errors import AiHowError, CouldNotTell
from ai_how.providers.existing import ExistingProvider, Reach
from ai_how.run import wait_until
from ai_how.services import Layout
from ai_how.serving.replicas import Replicas, SiteFolders
from ai_how.site.model import Reporter
from ai_how.slurm.model import Job

#: Slurm gives a job half a minute between SIGTERM and SIGKILL, unless its owner says otherwise.
_ENDING_SECONDS = 180.0


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


def _ours(reach: Reach) -> list[Job]:
    """Jobs that work in the site's folder there, and have not wholly ended."""
    return [job for job in reach.slurm.live_jobs() if job.work_dir.startswith(f"{reach.folder}/")]


def leave(reach: Reach, layout: Layout, reporter: Reporter) -> None:
    """End all jobs of the site there, and take its folder away.

    Raises :class:`CouldNotTell` when it cannot be reached, :class:`TimedOut` when a job does not end.
    """
    try:
        reach.open()
        end_replicas(reach, layout, reporter)
        for job in _ours(reach):
            reporter.note(f"job {job.id} ({job.name}) is ended")
            reach.slurm.cancel(job.id)
        # One that is still ending writes into its folder.
        wait_until(
            lambda: not _ours(reach),
            what="the end of the jobs there",
            timeout=_ENDING_SECONDS,
            clock=reach.clock,
            longest=2.0,
        )
        ExistingProvider(reach).remove()
    except CouldNotTell as error:
        raise CouldNotTell(
            f"nothing was removed: {error.message}",
            where=error.where,
            cause=error.cause,
            detail=error.detail,
            todo=f"{error.todo or ''} To leave what is there for good: `ai-how down`, then remove {layout.root}.",
        ) from error
