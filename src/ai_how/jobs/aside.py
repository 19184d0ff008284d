"""What jobs put aside outside their folder, where a job that is killed outright cannot clear up itself."""

from __future__ import annotations

import shutil

from ai_how.jobs.model import JobFolder
from ai_how.services import Layout


def clear_aside(layout: Layout) -> None:
    """Remove what jobs that were killed had put aside. For when no job runs."""
    for path in layout.jobs.glob("*"):
        shutil.rmtree(JobFolder(path).aside, ignore_errors=True)
