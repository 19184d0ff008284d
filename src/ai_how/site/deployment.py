"""Models that are served for the time of a benchmark, and for nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_how.errors import AiHowError, TimedOut, UsageError
from ai_how.host import Progress
from ai_how.run import undisturbed, wait_until
from ai_how.site import serving
from ai_how.site.control import Site
from ai_how.site.resolve import Asked
from ai_how.spec.bench_target import Deploy

#: Seconds within which replicas that are told to go are gone, and between two looks.
_GONE, _LOOK = 60.0, 0.5


class Deployment:
    """Serves models, and stops those alone that it has brought up itself."""

    def __init__(self, site: Site, progress: Progress) -> None:
        self._site, self._progress = site, progress
        self._up: dict[str, Deploy] = {}

    def up(self, name: str, asked: Deploy) -> Mapping[str, Any]:
        """Serve it, and wait until it answers; what answers.

        Raises :class:`UsageError` when something is served under that name already: it would be measured instead.
        """
        if self._up.get(name, asked) != asked:
            raise UsageError(
                f"two services would both be called {name}",
                todo="Give the second one another `target.model`.",
            )
        if name not in self._up and self._known(name):
            raise UsageError(
                f"{name} is served already, and is not this benchmark's to take down",
                todo=f"Leave `target.deploy` out to measure it, or `ai-how stop {name}` first.",
            )
        self._up[name] = asked  # before it is asked for: whatever comes between, it is taken down
        resources = asked.resources
        served = serving.serve(
            self._site,
            Asked(
                reference=asked.source, name=name, engine=asked.engine, runtime=asked.runtime,
                context=asked.context, slots=asked.slots, cpus=resources.cpus, memory=resources.memory,
                time_limit=resources.time_limit, gres=resources.gres, partition=resources.partition,
                account=resources.account, qos=resources.qos,
            ),
            self._progress,
            numbers=serving.Numbers(minimum=asked.replicas, maximum=asked.replicas),
            timeout=asked.patience,
        )  # fmt: skip
        ready = [one for one in served["replicas"] if one["phase"] == "ready"]
        return {
            "model": name,
            "source": asked.source,
            "version": served["answering"]["version"],
            "engine": served["answering"].get("engine"),
            "jobs": sorted(one["job_id"] for one in ready),
            "nodes": sorted({one["node"] for one in ready}),
        }

    def down(self, name: str) -> None:
        """Stop it, and wait until its jobs are gone. Raises :class:`AiHowError` when they would not go."""
        if self._up.pop(name, None) is None:
            return
        site = self._site
        if not self._known(name):
            return  # it never came to be asked for
        with undisturbed():  # a second Ctrl-C must not leave it served
            serving.stop(site, name, now=True)
        try:
            wait_until(
                lambda: not any(one["model"] == name for one in serving.ps(site)["replicas"]),
                what=f"the end of {name}",
                timeout=_GONE,
                clock=site.clock,
                longest=_LOOK,
            )
        except TimedOut as error:
            raise AiHowError(
                f"{name} was served for this benchmark and is not gone after {_GONE:g} s",
                todo=f"`ai-how ps` shows it; `ai-how stop {name} --now` ends it.",
            ) from error
        self._progress(f"{name} is taken down again")

    def _known(self, name: str) -> bool:
        return any(one["model"] == name for one in serving.ps(self._site)["models"])
