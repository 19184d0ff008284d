"""The cloud side of a site: Kubernetes, where there is one, and the services."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ai_how.spec.nodes import ControlPlane, WorkerNodes
from ai_how.spec.provider import Existing, Libvirt, Provider
from ai_how.spec.values import Frozen, Port, Shape, Subnet

#: Kubernetes' rule for names of objects (DNS labels).
ObjectName = Annotated[
    str,
    Shape(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", "name in Kubernetes: small letters, digits, '.' and '-'"),
]


class StorageClass(Frozen):
    name: ObjectName = Field(description="Name of the storage class.")
    provisioner: Literal["local-path", "nfs", "longhorn"] = Field(
        "local-path", description="What makes its volumes."
    )
    reclaim: Literal["delete", "retain"] = Field(
        "delete", description="What becomes of a volume that nobody claims any more."
    )
    server: str | None = Field(None, description="Host that exports them, for nfs.")
    path: str | None = Field(None, description="Path under which volumes are made.")


class KubernetesConfig(Frozen):
    version: Annotated[str, Shape(r"\d+\.\d+(\.\d+)?", "version, such as 1.31")] | None = Field(
        None,
        description='Kubernetes\' version, in quotes, such as "1.31"; the newest tested one when left out.',
    )
    cni: Literal["calico", "cilium", "flannel"] = Field("calico", description="The network of the pods.")
    ingress: Literal["nginx", "traefik", "none"] = Field("nginx", description="What lets requests in.")
    network_policy: Literal["none", "default-deny"] = Field(
        "none",
        description="Whether pods reach each other unless a policy forbids it, or only where one allows it.",
    )
    storage_class: ObjectName = Field("local-path", description="Storage class of volumes that name none.")
    storage_classes: tuple[StorageClass, ...] = Field(
        (), description="Storage classes beside local-path, which is always there."
    )
    pod_subnet: Subnet = Field("10.244.0.0/16", description="Addresses of pods.")
    service_subnet: Subnet = Field("10.96.0.0/12", description="Addresses of Kubernetes services.")


class PostgreSQL(Frozen):
    enabled: bool = Field(True, description="Whether the site has it.")
    port: Port | None = Field(None, description="TCP port on loopback; one is chosen and kept when left out.")


class ObjectStore(Frozen):
    enabled: bool = Field(True, description="Whether the site has it.")
    port: Port | None = Field(
        None, description="Port of the S3 API on loopback; chosen and kept when left out."
    )


class MLflow(Frozen):
    enabled: bool = Field(True, description="Whether the site has it.")
    port: Port | None = Field(None, description="Port of the MLflow server; chosen and kept when left out.")


class Gateway(Frozen):
    enabled: bool = Field(True, description="Whether the site has it.")
    port: Port | None = Field(None, description="Port of the gateway; chosen and kept when left out.")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Processes that answer behind that port; one does thousands of requests a second."
    )


class CloudServices(Frozen):
    postgresql: PostgreSQL = Field(default_factory=PostgreSQL, description="The database behind MLflow.")
    object_store: ObjectStore = Field(default_factory=ObjectStore, description="SeaweedFS, speaking S3.")
    mlflow: MLflow = Field(default_factory=MLflow, description="Runs, metrics and the model registry.")
    gateway: Gateway = Field(default_factory=Gateway, description="The one door to the served models.")


class CloudCluster(Frozen):
    provider: Provider = Field("local", description="What brings the services into being.")
    libvirt: Libvirt | None = Field(None, description="Settings of the provider libvirt.")
    existing: Existing | None = Field(None, description="Settings of the provider existing.")
    control_plane: ControlPlane | None = Field(
        None, description="The machines that run Kubernetes itself; without them there is no Kubernetes."
    )
    worker_nodes: WorkerNodes | None = Field(None, description="The machines that run pods.")
    kubernetes_config: KubernetesConfig | None = Field(None, description="Settings of Kubernetes.")
    services: CloudServices = Field(default_factory=CloudServices, description="The MLOps services.")
