"""What the reconciler tells the gateway, and what the gateway tells the reconciler.

The reconciler writes one file of routes, whole, whenever a route changes: which replicas of a model may be asked,
and what to say of a model that has none. The gateway tells of its load by datagrams to the reconciler's Unix socket:
at once when a request begins to wait for a model, otherwise a few times a second while anything changes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ai_how.wire.endpoint import MODEL_NAME
from ai_how.wire.openai import ModelState


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ReplicaRoute(_Wire):
    """A replica whose record the reconciler has checked against the job that Slurm says is running.

    ``weight`` is its share beside the other replicas of the model (0: none); a ``draining`` one ends what it holds and
    gets nothing new.
    """

    nonce: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    weight: float = Field(default=1.0, ge=0)
    draining: bool = False


class ModelRoute(_Wire):
    """One model. With ``wakes`` a request that comes while there is no replica makes one start, and waits for it.

    ``expected`` is when a replica should be ready, in seconds since the epoch, by Slurm's own estimate and the load
    time measured before; None when nobody can tell.
    """

    model: str = Field(pattern=MODEL_NAME)
    state: ModelState
    wakes: bool = False
    expected: float | None = None
    reason: str = ""
    replicas: tuple[ReplicaRoute, ...] = ()


class Routes(_Wire):
    """The whole file. ``generation`` grows by one with every change."""

    version: Literal["1.0"] = "1.0"
    generation: int = Field(ge=0)
    models: tuple[ModelRoute, ...] = ()


class ModelDemand(_Wire):
    """The load of one model at one worker of the gateway: requests that wait for a replica, and that are being
    answered; ``tokens`` is an estimate of those in flight."""

    waiting: int = Field(default=0, ge=0)
    active: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)


class Demand(_Wire):
    """The load of one worker of the gateway: the whole of it in each datagram, so that a lost one does no harm.

    ``worker`` names the worker as long as it lives; ``generation`` is that of the routes by which it chose last, so
    that a draining replica is known to be empty once every worker has seen that it drains and holds nothing on it.
    ``replicas`` has the requests on each replica, by nonce; ``asked`` when a model was asked last (epoch seconds).
    """

    version: Literal["1.0"] = "1.0"
    worker: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    generation: int = Field(ge=0)
    at: float
    models: dict[str, ModelDemand] = {}
    replicas: dict[str, int] = {}
    asked: dict[str, float] = {}
