"""Templates for ``ai-how init``: the emulated ones here, the others beside. Pure."""

from __future__ import annotations

from ai_how.spec.template_clusters import EXISTING, PRODUCTION

_LAPTOP = """\
# A site for one machine without GPU, KVM or root: a real Slurm cluster of emulated nodes beside the MLOps
# services. `ai-how up` brings it up; change this file and `ai-how up` again brings it to the change.
version: "1.0"

metadata:
  name: "{name}"                  # names the site and its folder
  description: "Slurm and the MLOps services on one machine"

clusters:
  hpc:
    provider: local               # every node is a process on this machine
    controller: {{cpu_cores: 1, memory_gb: 1}}
    compute_nodes:
      count: 4                    # node01 to node04; change it and `ai-how up` again
      cpu_cores: 2
      memory_gb: 4
      devices:                    # simulated GPUs: Slurm schedules them as it would real ones
        - {{model: a100, count: 2}}
    slurm_config:
      partitions:
        - gpu                     # all nodes
        - {{name: debug, nodes: 2, max_time: "00:30:00"}}
      default_partition: gpu
      max_job_time: "24:00:00"    # HH:MM:SS or D-HH:MM:SS, in quotes
      default_job_time: "01:00:00"

  cloud:
    provider: local
    services:                     # each takes a port; without one, a free one is chosen and kept
      postgresql: {{}}
      object_store: {{}}            # SeaweedFS, speaking S3
      mlflow: {{}}                  # runs, metrics, the model registry
      gateway: {{}}                 # the one door to the served models

global:
  telemetry: false                # nothing phones home
"""


_WORKSTATION = """\
# A workstation with an A100 that can be cut into slices and a second GPU, and both clusters on it: Slurm for training,
# the cloud side for services and inference. The provider `local` emulates all of it, GPUs too, so this file comes up
# on any machine and needs no GPU, KVM or root; sizes beyond the machine's own are warned about.
version: "1.0"

metadata:
  name: "{name}"                  # names the site and its folder
  description: "HPC and cloud side by side on one machine"

global:
  telemetry: false                # nothing phones home
  networks:
    hpc_network: {{subnet: "192.168.100.0/24", bridge: virbr100}}
    cloud_network: {{subnet: "192.168.200.0/24", bridge: virbr200}}
  gpu_allocation:
    devices:
      - id: GPU-0
        pci_address: "0000:65:00.0"
        model: "NVIDIA A100 80GB"
        mig_capable: true
        allowed_mig_profiles: ["1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb"]
      - id: GPU-1
        pci_address: "0000:ca:00.0"
        model: "NVIDIA RTX 6000"
        mig_capable: false
    strategy: hybrid              # mig: slices only; whole: whole devices only; hybrid: both
    mig_slices: {{hpc: 4, cloud: 3}}    # of the smallest allowed profile, so seven of 1g.10gb: all that GPU-0 has
    whole_gpus: {{hpc: 0, cloud: 1}}    # GPU-1

clusters:
  hpc:
    provider: local
    controller: {{cpu_cores: 4, memory_gb: 8, disk_gb: 100, ip_address: "192.168.100.10"}}
    compute_nodes:
      count: 4                    # node01 to node04; change it and `ai-how up` again
      cpu_cores: 8
      memory_gb: 16
      disk_gb: 200
      gpu_enabled: true           # they share out hpc's slices
      ip_range: "192.168.100.11-14"
    slurm_config:
      partitions: [gpu, debug]
      default_partition: gpu
      max_job_time: "24:00:00"    # HH:MM:SS or D-HH:MM:SS, in quotes

  cloud:
    provider: local
    control_plane: {{cpu_cores: 4, memory_gb: 8, disk_gb: 100, ip_address: "192.168.200.10"}}
    worker_nodes:
      cpu_workers: {{count: 1, cpu_cores: 4, memory_gb: 8, disk_gb: 100, ip_range: "192.168.200.11"}}
      gpu_workers:
        count: 3
        cpu_cores: 8
        memory_gb: 16
        disk_gb: 200
        gpu_enabled: true         # they share out the cloud's slices and its whole GPU
        ip_range: "192.168.200.12-14"
    kubernetes_config: {{cni: calico, ingress: nginx, storage_class: local-path}}
"""

#: What each template is for, in one line.
PURPOSES = {
    "laptop": "one machine without GPU, KVM or root: Slurm and the services, emulated",
    "workstation": "both clusters on one machine with two GPUs, one of them cut into slices; emulated",
    "production": "virtual machines, real GPUs, high availability, QOS, TLS, measurements, backups",
    "existing": "a Slurm cluster that somebody else runs, reached over SSH",
}
_TEMPLATES = {
    "laptop": _LAPTOP,
    "workstation": _WORKSTATION,
    "production": PRODUCTION,
    "existing": EXISTING,
}


def laptop(name: str = "laptop") -> str:
    """The laptop template, with comments."""
    return template("laptop", name)


def template(kind: str, name: str | None = None) -> str:
    """The template of one of :data:`PURPOSES`, with comments; the site is named after it unless ``name`` says else."""
    return _TEMPLATES[kind].format(name=name or kind)
