"""The templates of machines that AI-HOW does not emulate: a production cluster, and one that exists. Pure."""

PRODUCTION = """\
# A site in virtual machines, for people who depend on it: three machines of control plane, two groups of nodes with
# real GPUs, QOS and accounts, TLS, measurements and backups. Set the addresses and the GPUs to what you have.
# `ai-how validate` checks the file; `ai-how plan` says by name what no provider can bring about yet.
version: "1.0"

metadata:
  name: "{name}"
  description: "Training, notebooks and inference for the lab"

global:
  telemetry: false
  networks:
    hpc_network:
      subnet: "10.20.0.0/24"
      bridge: virbr20
      gateway: "10.20.0.1"
      dns: ["10.20.0.1"]
      dhcp_range: "10.20.0.200-250"       # for machines that you add by hand; none of the addresses below
    cloud_network:
      subnet: "10.21.0.0/24"
      bridge: virbr21
      gateway: "10.21.0.1"
      dns: ["10.21.0.1"]
  gpu_allocation:
    strategy: hybrid                      # slices (mig), whole devices (whole), or both
    devices:                              # `lspci -D` and `nvidia-smi -q` say what you have
      - id: GPU-0
        pci_address: "0000:17:00.0"
        model: "NVIDIA H100 80GB HBM3"
        mig_capable: true
        allowed_mig_profiles: ["1g.10gb", "2g.20gb", "3g.40gb"]
      - {{id: GPU-1, pci_address: "0000:65:00.0", model: "NVIDIA H100 80GB HBM3", mig_capable: true}}
      - {{id: GPU-2, pci_address: "0000:ca:00.0", model: "NVIDIA H100 80GB HBM3", mig_capable: true}}
    demands:                              # each slice or device has one owner
      - {{name: notebooks, for: hpc.compute_nodes.slices, profile: 1g.10gb, count: 4, placement: packed}}
      - {{name: inference, for: cloud.worker_nodes.gpu_workers, at_least: {{memory_gb: 40}}, count: 1}}
      - {{name: training, for: hpc.compute_nodes.big, whole: true, count: 2}}

clusters:
  hpc:
    provider: libvirt
    libvirt:
      uri: "qemu:///system"
      pool: default
      autostart: true
    controller: {{cpu_cores: 4, memory_gb: 16, disk_gb: 200, ip_address: "10.20.0.10"}}
    compute_nodes:
      - name: slices                      # slices01 and slices02
        count: 2
        cpu_cores: 8
        memory_gb: 32
        disk_gb: 200
        gpu_enabled: true
        ip_range: "10.20.0.11-12"
      - name: big                         # big01 and big02
        count: 2
        cpu_cores: 24
        memory_gb: 192
        disk_gb: 1000
        gpu_enabled: true
        ip_range: "10.20.0.21-22"
    storage:
      - {{name: home, path: /home, type: nfs, size_gb: 500}}
      - {{name: datasets, path: /datasets, type: nfs, size_gb: 4000}}
      - {{name: scratch, path: /scratch, type: local}}
    slurm_config:
      partitions:
        - {{name: interactive, groups: [slices], max_time: "08:00:00", priority: 20}}
        - {{name: batch, groups: [big], max_time: "3-00:00:00", priority: 10}}
        - {{name: urgent, groups: [big], max_time: "12:00:00", qos: urgent, priority: 30}}
      default_partition: interactive
      max_job_time: "3-00:00:00"
      default_job_time: "02:00:00"
      qos:
        - {{name: normal, priority: 10, max_gpus_per_user: 2}}
        - {{name: urgent, priority: 100, max_time: "12:00:00", max_jobs_per_user: 2, preempt: [normal]}}
      accounts:
        - {{name: lab, qos: [normal]}}
        - {{name: vision, parent: lab, users: [ann, bob], qos: [normal, urgent], fairshare: 60}}
        - {{name: language, parent: lab, users: [cleo], qos: [normal], fairshare: 40}}
      accounting: {{enabled: true, retention_days: 730}}
      preemption: {{type: qos, mode: requeue}}

  cloud:
    provider: libvirt
    libvirt: {{uri: "qemu:///system", pool: default, autostart: true}}
    control_plane:
      count: 3                            # an odd number, so that a majority is left when one is lost
      high_availability: true
      virtual_ip: "10.21.0.5"
      cpu_cores: 4
      memory_gb: 8
      disk_gb: 100
      ip_range: "10.21.0.10-12"
    worker_nodes:
      cpu_workers: {{count: 2, cpu_cores: 8, memory_gb: 32, disk_gb: 200, ip_range: "10.21.0.21-22"}}
      gpu_workers: {{count: 1, cpu_cores: 8, memory_gb: 64, disk_gb: 400, gpu_enabled: true, ip_range: "10.21.0.31"}}
    kubernetes_config:
      cni: calico
      ingress: nginx
      network_policy: default-deny
      storage_class: local-path
      storage_classes:
        - {{name: kept, provisioner: longhorn, reclaim: retain}}
    services:
      postgresql: {{port: 5432}}
      object_store: {{port: 9000}}
      mlflow: {{port: 5000}}
      gateway: {{port: 8080}}

serving:                                  # models that are kept served; `ai-how serve` adds others
  models:
    - name: assistant
      source: assistant@champion          # a registered model; promote another version, and `up` brings it
      context: 8192
      slots: 8
      replicas: {{min: 1, max: 4}}
      resources: {{cpus: 4, memory: 64G, time_limit: "12:00:00", partition: batch, qos: normal}}
    - name: translator
      source: translator@champion
      replicas: {{min: 0, max: 1}}          # sleeps while nobody asks; a request wakes it
      idle: 30m

security:
  tls: {{enabled: true, names: ["ai.lab.example"], certificate_days: 90}}
  tokens: {{lifetime_days: 180, requests_per_minute: 120}}
  audit: {{enabled: true, retention_days: 365}}
  ssh: {{key_type: ed25519}}
  expose: [gateway]                       # everything else listens on loopback only

monitoring:
  enabled: true
  prometheus: {{retention_days: 30, scrape_interval: 15s}}
  grafana: {{enabled: true}}
  alerts: {{email: "ops@lab.example", gpu_temperature_c: 85, disk_used_percent: 85}}

backup:
  enabled: true
  schedule: "0 3 * * *"                   # cron's five fields
  target: folder
  path: /srv/backup/{name}                # on another disk than the data
  keep: {{daily: 7, weekly: 4, monthly: 12}}
"""

EXISTING = """\
# A Slurm cluster that somebody else runs, reached over SSH, and the MLOps services on this machine beside it.
# `ai-how plan` connects, shows what Slurm there tells of itself, and names what of this file it would refuse.
version: "1.0"

metadata:
  name: "{name}"
  description: "The university's cluster, and our services"

clusters:
  hpc:
    provider: existing
    existing:
      host: login.hpc.example             # `localhost` where this machine is a login node itself
      user: ann                           # user, key, port, jump host: here, or in your ~/.ssh/config
      identity_file: ~/.ssh/id_ed25519
      folder: /project/ann/ai-how         # of this site alone; every node of the cluster sees it
      jobs:                               # what every job there is submitted with
        account: physics
        qos: normal
        partition: gpu
        modules: [Apptainer]
        bind: [/project/physics]          # what an image sees besides the folder above

  cloud:
    provider: local                       # the services run here
    services:
      postgresql: {{}}
      object_store: {{}}
      mlflow: {{}}
      gateway: {{}}

global:
  telemetry: false
"""
