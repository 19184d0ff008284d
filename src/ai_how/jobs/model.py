"""What a submitted recipe is, on disk and in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ai_how.spec.recipe import Argument, Recipe

#: The state of a record whose job slurmctld forgot; our own word, as Slurm has none for it.
LOST = "LOST"
WHY_LOST = "slurmctld was killed before it had written the job down"
WHY_FORGOTTEN = "the cluster's Slurm has forgotten the job, and its accounting knows nothing of it"


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job: ``share/jobs/<name>-<key>``. Every node sees it."""

    path: Path

    @property
    def scripts(self) -> Path:
        """Copies of the recipe's files: what was submitted is what runs, whatever changes meanwhile."""
        return self.path / "recipe"

    @property
    def batch(self) -> Path:
        return self.path / "batch.sh"

    @property
    def output(self) -> Path:
        return self.path / "output"

    @property
    def result(self) -> Path:
        return self.output / "result.json"

    @property
    def model(self) -> Path:
        return self.output / "model"

    @property
    def checkpoint(self) -> Path:
        """Kept over requeues."""
        return self.path / "checkpoint"

    @property
    def aside(self) -> Path:
        """Where the job's programs put things aside: TMPDIR, gone with the job. Short, as Unix sockets lie there."""
        return Path("/tmp") / f"ai-how-job-{self.path.name.rpartition('-')[2]}"

    @property
    def ended(self) -> Path:
        """Made when the batch script ends by itself: cheaper to look for than to ask Slurm again and again."""
        return self.path / "ended"

    @property
    def facts(self) -> Path:
        """What the job may know of its site."""
        return self.path / "facts.json"

    @property
    def record(self) -> Path:
        return self.path / "record.json"


@dataclass(frozen=True)
class JobRecord:
    """What is kept of a job: enough to follow it, and to close its run when it has ended.

    ``state`` is Slurm's word once the job has ended and the run was closed, and empty until then. ``job_id`` is
    0 between the run's creation and the job's submission.
    """

    name: str
    kind: str
    run_id: str
    submitted: float
    job_id: int = 0
    model: str | None = None
    log: str = ""
    state: str = ""
    model_version: str | None = None
    accounting: Mapping[str, float] = field(default_factory=dict)

    @property
    def closed(self) -> bool:
        return bool(self.state)

    def with_job(self, job_id: int) -> JobRecord:
        return replace(self, job_id=job_id)

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_text(cls, text: str) -> JobRecord:
        facts: dict[str, Any] = json.loads(text)
        return cls(**facts)


def noted_id(text: str) -> int:
    """The id that a job's script has written down; 0 while it is writing. Pure."""
    return int(text) if text.endswith("\n") and text.strip().isdigit() else 0


@dataclass(frozen=True)
class Submission:
    """What the batch script is rendered from. Paths are those that the nodes see.

    ``binds`` are paths that an image sees besides the share.
    """

    recipe: Recipe
    folder: JobFolder
    log: Path
    python: str
    tracking_uri: str
    run_id: str
    arguments: Mapping[str, Argument]
    binds: tuple[str, ...] = ()
