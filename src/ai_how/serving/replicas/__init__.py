"""Replicas: what was asked for, what is, and the acts that bring the two together."""

from ai_how.serving.replicas.control import Replicas, SiteFolders
from ai_how.serving.replicas.model import (
    JobFacts,
    Phase,
    ReplicaResources,
    ReplicaStatus,
    ReplicaWanted,
    Submitter,
)

__all__ = [
    "JobFacts",
    "Phase",
    "ReplicaResources",
    "ReplicaStatus",
    "ReplicaWanted",
    "Replicas",
    "SiteFolders",
    "Submitter",
]
