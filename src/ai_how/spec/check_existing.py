"""The settings of the provider existing. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec.check import Found
from ai_how.spec.load import Path
from ai_how.spec.model import SiteSpec
from ai_how.spec.provider import Existing

#: Options of sbatch that have a key of their own, by that key.
_KEYS = {name: f"jobs.{name}" for name in ("account", "qos", "partition", "constraint", "reservation")}
#: Options that AI-HOW sets for each job, and those that make sbatch do something else than submit one.
_OURS = frozenset(
    {
        "array", "chdir", "cpus-per-task", "error", "export", "export-file", "gres", "input", "job-name", "mem",
        "nodes", "ntasks-per-node", "no-requeue", "open-mode", "output", "requeue", "signal", "time",
    }
)  # fmt: skip
_OTHERWISE = frozenset(
    {
        "clusters", "dependency", "get-user-env", "gid", "help", "parsable", "quiet", "test-only", "uid", "usage",
        "verbose", "version", "wait", "wrap",
    }
)  # fmt: skip
#: Settings that only SSH has a use for.
_SSH = ("user", "port", "identity_file", "jump_host", "config_file")
HERE = "localhost"


def _told(spec: SiteSpec) -> Iterator[tuple[Path, Existing]]:
    for side in ("hpc", "cloud"):
        found = getattr(spec.clusters, side).existing
        if found is not None:
            yield ("clusters", side, "existing"), found


def options(spec: SiteSpec) -> Iterator[Found]:
    """Further options of sbatch are such as nobody else sets, each once."""
    for path, existing in _told(spec):
        seen: set[str] = set()
        for index, option in enumerate(existing.jobs.options):
            name = option.partition("=")[0]
            place: Path = (*path, "jobs", "options", index)
            if name in _KEYS:
                yield place, f"the option '{name}' has a key of its own", f"Write it as `{_KEYS[name]}`."
            elif name in _OURS:
                yield place, f"the option '{name}' is set for each job as it needs it", "Remove it."
            elif name in _OTHERWISE:
                yield place, f"with the option '{name}' sbatch would not simply submit a job", "Remove it."
            elif name in seen:
                yield place, f"the option '{name}' is given twice", "Keep one."
            seen.add(name)


def environments(spec: SiteSpec) -> Iterator[Found]:
    """Each runtime environment is in one place."""
    for path, existing in _told(spec):
        names = [one.name for one in existing.environments]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield (
                    (*path, "environments", index, "name"),
                    f"the environment '{name}' is listed twice",
                    "Keep one of the two.",
                )


def hosts(spec: SiteSpec) -> Iterator[Found]:
    """On this machine there is no SSH to be told how."""
    for path, existing in _told(spec):
        for key in _SSH if existing.host == HERE else ():
            if getattr(existing, key) is not None:
                yield (
                    (*path, key),
                    f"{key} is for SSH, and the host is {HERE}: the commands run here",
                    "Remove it, or name the host by which SSH reaches it.",
                )
