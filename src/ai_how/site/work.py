"""Work on a site: recipes into jobs with everything they need of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ai_how.client.tracking import Tracking
from ai_how.client.untracked import Untracked
from ai_how.errors import UsageError
from ai_how.host import Progress
from ai_how.jobs.control import Jobs, RecipeFile
from ai_how.jobs.far import Far
from ai_how.jobs.model import JobRecord
from ai_how.models.control import Gguf, Models
from ai_how.models.convert import Precision
from ai_how.providers.existing import FarEnvironments
from ai_how.site.control import Site
from ai_how.site.facts import facts
from ai_how.site.runtimes import refuse_absent_image, refuse_absent_path
from ai_how.slurm.model import Job

#: Longer than a job's own time limit: it may wait in the queue, and be requeued.
QUEUE_SECONDS = 7 * 86400
#: The engine of `serve`, and the runtime environment whose libraries convert models for it.
ENGINE = "llama.cpp"
CONVERTER = "oumi"


def jobs_of(site: Site) -> Jobs:
    """The jobs of a site that was brought up. Raises :class:`UsageError` for one that was not."""
    far = Far(site.cluster) if site.cluster.apart else None
    return Jobs(site.slurm, site.layout, _tracking(site), site.clock, far)


def _tracking(site: Site) -> Tracking:
    refuse_unborn(site)
    return Tracking(site.tracking_uri) if site.tracking_uri else Untracked()


def refuse_unborn(site: Site) -> None:
    if not site.exists:
        raise UsageError(f"the site '{site.file.spec.name}' was never up", todo="`ai-how up` brings it up.")


def python_for(site: Site, file: RecipeFile, progress: Progress) -> str:
    """The interpreter that the recipe's environment means; a kept environment is built when it is not there.

    Raises :class:`NotFound` for a path without Python and for an image, where it can be seen that they are not there.
    """
    environment = file.recipe.environment
    if environment.venv is not None:
        return str(environment_of(site, environment.venv, progress) / "bin" / "python")
    if environment.image is not None:
        refuse_absent_image(site, environment.image, f"{file.path}: environment.image")
    if environment.path is not None:
        refuse_absent_path(site, environment.path, f"{file.path}: environment.path")
        return str(Path(environment.path) / "bin" / "python")
    return "python3"


def environment_of(site: Site, name: str, progress: Progress) -> Path:
    """The folder of a kept environment as the nodes see it; built when it is not there."""
    if site.reach:
        return FarEnvironments(site.reach).ensure(name, progress)
    return site.environments.ensure(name, progress)


def submit(site: Site, file: RecipeFile, progress: Progress) -> JobRecord:
    """Submit a recipe; returns at once with the job's record."""
    jobs = jobs_of(site)
    return jobs.submit(file, python_for(site, file, progress), facts(site))


def acknowledge(site: Site, record: JobRecord) -> None:
    """Return when a submitted job survives the end of every daemon. Raises :class:`NotFound` when it did not."""
    jobs = jobs_of(site)
    if found := jobs.record(record.job_id):
        jobs.acknowledge(*found)


def wait(site: Site, record: JobRecord, on_state: Callable[[Job], None]) -> JobRecord:
    """Wait for a job's end and its closed run. Raises :class:`JobFailed` with the job's last lines."""
    return jobs_of(site).wait(record, timeout=QUEUE_SECONDS, on_state=on_state)


def models_of(site: Site) -> Models:
    """The registered models of a site that was brought up."""
    return Models(_tracking(site), site.layout, site.gate)


def model_folder(site: Site, reference: str) -> Path:
    """The folder of a model: a path, or a registered version brought to the site's share."""
    return Path(reference).resolve() if Path(reference).is_dir() else models_of(site).fetch(reference)


def gguf(site: Site, reference: str, progress: Progress, precision: Precision = "f16") -> Gguf:
    """A model as a GGUF file; converted in the fine-tuning environment when it is none yet."""

    def converter() -> Path:
        python = site.environments.ensure(CONVERTER, progress) / "bin" / "python"
        progress(f"bringing {reference} as GGUF")
        return python

    return models_of(site).gguf(reference, converter, precision)
