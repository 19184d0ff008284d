"""How a site is, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ai_how.errors import AiHowError
from ai_how.providers.model import Observation, Provider, State
from ai_how.services import Setting, catalogue, cluster, gateway, mlflow, object_store
from ai_how.services.catalogue import own_slurm
from ai_how.slurm.control import Slurm
from ai_how.slurm.model import NodeState
from ai_how.spec import SiteSpec


@dataclass(frozen=True)
class Status:
    """What was observed. ``nodes`` is None when slurmctld did not answer."""

    name: str
    folder: str
    services: Mapping[str, Observation]
    nodes: Sequence[NodeState] | None
    addresses: Mapping[str, str]
    strays: int
    own_nodes: bool = True

    @property
    def up(self) -> bool:
        """Every service runs and is healthy, and every node takes jobs."""
        services = all(one.state is State.RUNNING and one.healthy for one in self.services.values())
        # The nodes of somebody else's cluster are theirs: some of hundreds are always down.
        return services and (
            not self.own_nodes or (self.nodes is not None and all(node.usable for node in self.nodes))
        )

    def as_json(self) -> dict[str, object]:
        now = time.time()
        return {
            "name": self.name,
            "folder": self.folder,
            "up": self.up,
            "services": [
                {
                    "name": one.name,
                    "state": str(one.state),
                    "healthy": one.healthy,
                    "pid": one.pid,
                    "seconds": round(now - one.since) if one.since else None,
                    "detail": one.detail or None,
                }
                for one in self.services.values()
            ],
            "nodes": None
            if self.nodes is None
            else [
                {
                    "name": node.name,
                    "state": "+".join([node.state, *sorted(node.flags)]),
                    "reason": node.reason or None,
                }
                for node in self.nodes
            ],
            "addresses": dict(self.addresses),
            "strays": self.strays,
        }


def observe_status(spec: SiteSpec, setting: Setting, provider: Provider, slurm: Slurm | None) -> Status:
    """Look at every service, and ask slurmctld about its nodes when it runs."""
    observed = provider.observe(catalogue(setting))
    nodes = None
    controller = observed.services.get("slurmctld") or observed.services[cluster.NAME]
    if slurm is not None and controller.state is State.RUNNING:
        try:
            nodes = slurm.nodes()
        except AiHowError:
            nodes = None
    return Status(
        name=spec.name,
        folder=str(setting.layout.root),
        services=observed.services,
        nodes=nodes,
        addresses=dict(_addresses(setting)),
        strays=len(observed.strays),
        own_nodes=own_slurm(spec),
    )


def _addresses(setting: Setting) -> Iterator[tuple[str, str]]:
    """Where the services are that somebody connects to."""
    services = setting.spec.clusters.cloud.services
    yield "gateway", f"{gateway.base_url(setting)}/v1"
    if services.mlflow.enabled:
        yield "mlflow", mlflow.tracking_uri(setting)
    if services.object_store.enabled:
        yield "s3", object_store.endpoint(setting)
