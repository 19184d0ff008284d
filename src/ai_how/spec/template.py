"""Templates for ``ai-how init``. Pure."""

from __future__ import annotations

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


def laptop(name: str = "laptop") -> str:
    """The laptop template, with comments."""
    return _LAPTOP.format(name=name)
