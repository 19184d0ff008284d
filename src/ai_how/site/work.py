"""Work on a site: recipes into jobs with everything they need of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ai_how.client.tracking import Tracking
from ai_how.errors import UsageError
from ai_how.host import Progress
from ai_how.jobs.control import Jobs, RecipeFile
from ai_how.jobs.model import JobRecord
from ai_how.models.control import Gguf, Models
from ai_how.models.convert import Precision
from ai_how.services.nodes import nodes_of, partitions_of
from ai_how.site.control import Site
from ai_how.slurm.model import Job
from ai_how.spec import walltime
from ai_how.spec.recipe import Recipe

#: Longer than a job's own time limit: it may wait in the queue, and be requeued.
QUEUE_SECONDS = 7 * 86400
#: The engine of `serve`, and the runtime environment whose libraries convert models for it.
ENGINE = "llama.cpp"
CONVERTER = "oumi"


def jobs_of(site: Site) -> Jobs:
    """The jobs of a site that was brought up. Raises :class:`UsageError` for one that was not."""
    return Jobs(site.slurm, site.layout, _tracking(site), site.clock)


def _tracking(site: Site) -> Tracking:
    refuse_unborn(site)
    return Tracking(site.tracking_uri)


def refuse_unborn(site: Site) -> None:
    if not site.exists:
        raise UsageError(f"the site '{site.file.spec.name}' was never up", todo="`ai-how up` brings it up.")


def python_for(site: Site, recipe: Recipe, progress: Progress) -> str:
    """The interpreter that the recipe's environment means; a kept environment is built when it is not there."""
    environment = recipe.environment
    if environment.venv is not None:
        return str(site.environments.ensure(environment.venv, progress) / "bin" / "python")
    if environment.path is not None:
        return str(Path(environment.path) / "bin" / "python")
    return "python3"


def submit(site: Site, file: RecipeFile, progress: Progress) -> JobRecord:
    """Submit a recipe; returns at once with the job's record."""
    jobs = jobs_of(site)
    return jobs.submit(file, python_for(site, file.recipe, progress), facts(site))


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


def facts(site: Site) -> Mapping[str, Any]:
    """What a job may know of its site: nodes, devices, partitions, services. No secrets."""
    spec = site.file.spec
    partitions = list(partitions_of(spec))
    ports = site.setting().ports
    return {
        "site": spec.name,
        "partitions": [
            {
                "name": part.name,
                "nodes": list(part.nodes),
                "default": part.default,
                "time_limit": walltime.render(walltime.seconds(part.max_time)),
            }
            for part in partitions
        ],
        "nodes": [
            {
                "name": node.name,
                "cpus": node.cpus,
                "memory_gb": node.memory_gb,
                "devices": [{"type": kind, "count": count} for kind, count in node.devices.items()],
                "partitions": [part.name for part in partitions if node.name in part.nodes],
            }
            for node in nodes_of(spec, site.gpus)
        ],
        "services": [
            {"name": label, "port": ports[name]}
            for label, name in (
                ("gateway", "gateway"), ("mlflow", "mlflow"), ("postgresql", "postgresql"),
                ("object-store", "object-store"),
            )
        ],
    }  # fmt: skip
