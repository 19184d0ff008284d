"""Replicas: what is wanted of each model, what is, and the acts that bring the two together."""

from ai_how.serving.replicas.control import Replicas, SiteFolders, check_engine, check_name, request_of
from ai_how.serving.replicas.desired import Desired, ModelVersion, Scale
from ai_how.serving.replicas.model import (
    JobFacts,
    Phase,
    ReplicaResources,
    ReplicaStatus,
    ReplicaWanted,
    Submitter,
    Tunnels,
)
from ai_how.serving.replicas.store import Store, nudge

__all__ = [
    "Desired",
    "JobFacts",
    "ModelVersion",
    "Phase",
    "ReplicaResources",
    "ReplicaStatus",
    "ReplicaWanted",
    "Replicas",
    "Scale",
    "SiteFolders",
    "Store",
    "Submitter",
    "Tunnels",
    "check_engine",
    "check_name",
    "nudge",
    "request_of",
]
