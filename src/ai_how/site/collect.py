"""Facts of a site for the demo's report: its shape, its jobs, its versions, its host."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ai_how.site import work
from ai_how.site.control import Site
from ai_how.site.facts import facts
from ai_how.site.report.model import (
    Device,
    HostFacts,
    JobFacts,
    Node,
    Part,
    Partition,
    Service,
    SiteFacts,
    Version,
)
from ai_how.slurm.parse import expand

GIB = 2**30
#: Programs whose versions tell what was run, by the service that they are.
SERVICES = {"slurmctld": "slurmctld", "slurmdbd": "slurmdbd", "mariadb": "mariadbd", "munged": "munged"}
#: Packages whose versions tell what computed.
PACKAGES = ("mlflow", "torch", "oumi", "transformers", "xllamacpp")


def site_facts(site: Site) -> SiteFacts:
    """The site's shape as its file has it, with the versions of its services."""
    known = facts(site)
    nodes = tuple(
        Node(
            node["name"],
            node["cpus"],
            node["memory_gb"],
            tuple(Device(device["type"], device["count"]) for device in node["devices"]),
        )
        for node in known["nodes"]
    )
    partitions = tuple(
        Partition(part["name"], tuple(part["nodes"]), part["default"], part["time_limit"])
        for part in known["partitions"]
    )
    return SiteFacts(known["site"], nodes, partitions, tuple(_services(site, known["services"])))


def _services(site: Site, cloud: Sequence[dict[str, object]]) -> Iterator[Service]:
    for name, program in SERVICES.items():
        yield Service(name, _version_of(site, program), "hpc")
    versions = {
        "postgresql": _version_of(site, "postgres"),
        "object-store": _version_of(site, "weed"),
        "mlflow": _package_version(site, "mlflow", "mlflow"),
    }
    for entry in cloud:
        name, port = str(entry["name"]), int(str(entry["port"]))
        yield Service(name, versions.get(name, ""), "cloud", port)


def job_facts(site: Site, job_id: int, part: Part) -> JobFacts:
    """A job by Slurm's own accounting; what slurmdbd does not have yet is left out."""
    job = work.jobs_of(site).find(job_id)
    entry = site.slurm.accounting([job_id]).get(job_id)
    return JobFacts(
        job_id=job_id,
        name=job.name,
        part=part,
        nodes=tuple(expand(job.nodes)),
        state=job.state,
        elapsed_seconds=float(entry.elapsed_seconds if entry else job.elapsed),
        cpu_seconds=entry.cpu_seconds if entry and entry.cpu_seconds else None,
        max_memory_bytes=entry.max_rss_bytes if entry and entry.max_rss_bytes else None,
    )


def versions(site: Site, environments: Sequence[str]) -> Iterator[Version]:
    """Every program and the packages that matter, with where each came from."""
    seen = set()
    for name in ("slurmctld", "munged", "mariadbd", "postgres", "weed"):
        found = site.toolbox.find(name)
        if found is not None:
            yield Version(name, found.version or "", found.origin)
    for environment in environments:
        for package in PACKAGES:
            version = _package_version(site, environment, package)
            if version and package not in seen:
                seen.add(package)
                yield Version(package, version, f"wheel, environment {environment}")
    yield Version("Python", platform.python_version(), "path")


def host_facts(site: Site) -> HostFacts:
    """The machine."""
    inventory = site.inventory
    return HostFacts(
        system=f"{site.toolbox.distribution.name}, Linux {platform.release()}",
        cpus=inventory.cpus,
        memory_gb=round(inventory.memory / GIB, 1),
        user="root" if inventory.root else "ordinary user",
        cpu_model=_cpu_model(),
    )


def _cpu_model() -> str:
    match = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match.group(1).strip() if match else platform.machine()


def _version_of(site: Site, program: str) -> str:
    found = site.toolbox.find(program)
    return found.version or "" if found else ""


def _package_version(site: Site, environment: str, package: str) -> str:
    folder = site.environments.find(environment)
    if folder is None:
        return ""
    for path in folder.glob(f"lib/python*/site-packages/{package}-*.dist-info"):
        return path.name.removeprefix(f"{package}-").removesuffix(".dist-info")
    return ""
