"""Work on a site: recipes into jobs with everything they need of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ai_how.errors import UsageError
from ai_how.jobs.control import Jobs, RecipeFile
from ai_how.jobs.model import JobRecord
from ai_how.jobs.tracking import Tracking
from ai_how.site.control import Site
from ai_how.slurm.model import Job
from ai_how.spec import walltime
from ai_how.spec.recipe import Recipe

#: Longer than a job's own time limit: it may wait in the queue, and be requeued.
QUEUE_SECONDS = 7 * 86400


def jobs_of(site: Site) -> Jobs:
    """The jobs of a site that was brought up. Raises :class:`UsageError` for one that was not."""
    if not site.exists:
        raise UsageError(f"the site '{site.file.spec.name}' was never up", todo="`ai-how up` brings it up.")
    return Jobs(site.slurm, site.layout, Tracking(site.tracking_uri), site.clock)


def python_for(site: Site, recipe: Recipe, progress: Callable[[str], None]) -> str:
    """The interpreter that the recipe's environment means; a kept environment is built when it is not there."""
    environment = recipe.environment
    if environment.venv is not None:
        return str(site.environments.ensure(environment.venv, progress) / "bin" / "python")
    if environment.path is not None:
        return str(Path(environment.path) / "bin" / "python")
    return "python3"


def submit(site: Site, file: RecipeFile, progress: Callable[[str], None]) -> JobRecord:
    """Submit a recipe; returns at once with the job's record."""
    jobs = jobs_of(site)
    return jobs.submit(file, python_for(site, file.recipe, progress), facts(site))


def wait(site: Site, record: JobRecord, on_state: Callable[[Job], None]) -> JobRecord:
    """Wait for a job's end and its closed run. Raises :class:`JobFailed` with the job's last lines."""
    return jobs_of(site).wait(record, timeout=QUEUE_SECONDS, on_state=on_state)


def facts(site: Site) -> Mapping[str, Any]:
    """What a job may know of its site: nodes, devices, partitions, services. No secrets."""
    spec = site.file.spec
    hpc = spec.clusters.hpc
    nodes = spec.node_names
    spans = {part.name: nodes[: part.nodes] for part in hpc.slurm_config.partitions}
    ports = site.setting().ports
    return {
        "site": spec.name,
        "partitions": [
            {
                "name": part.name,
                "nodes": list(spans[part.name]),
                "default": part.name == hpc.default_partition,
                "time_limit": walltime.render(
                    walltime.seconds(part.max_time or hpc.slurm_config.max_job_time)
                ),
            }
            for part in hpc.slurm_config.partitions
        ],
        "nodes": [
            {
                "name": name,
                "cpus": hpc.compute_nodes.cpu_cores,
                "memory_gb": hpc.compute_nodes.memory_gb,
                "devices": [
                    {"type": device.model, "count": device.count} for device in hpc.compute_nodes.devices
                ],
                "partitions": [part for part, members in spans.items() if name in members],
            }
            for name in nodes
        ],
        "services": [
            {"name": label, "port": ports[name]}
            for label, name in (
                ("gateway", "gateway"), ("mlflow", "mlflow"), ("postgresql", "postgresql"),
                ("object-store", "object-store"),
            )
        ],
    }  # fmt: skip
