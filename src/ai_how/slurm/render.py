"""Slurm's configuration files as text. Pure; golden files hold every line."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ai_how.slurm.model import ClusterConfig, Gres, Node, Partition


def slurm_conf(config: ClusterConfig) -> str:
    """``slurm.conf`` for a cluster whose nodes all live on this host, each slurmd on a port of its own."""
    lines = [
        "# Rendered by ai-how from cluster.yaml; changes made here are lost at the next `ai-how up`.",
        f"ClusterName={config.name}",
        f"SlurmctldHost={config.host}(127.0.0.1)",
        f"SlurmctldPort={config.slurmctld_port}",
        f"SlurmUser={config.user}",
        f"SlurmdUser={config.user}",
        *_loopback_only(config),
        "AuthType=auth/munge",
        # A requeued job waits until its former credentials have expired: by default two minutes.
        f"AuthInfo=socket={config.munge_socket},cred_expire=30",
        "CredType=cred/munge",
        f"StateSaveLocation={config.state}",
        f"SlurmdSpoolDir={config.spool}/%n",
        f"SlurmctldPidFile={config.run}/slurmctld.pid",
        f"SlurmdPidFile={config.run}/slurmd-%n.pid",
        f"SlurmctldLogFile={config.log}/slurmctld.log",
        f"SlurmdLogFile={config.log}/slurmd-%n.log",
        *([f"PluginDir={config.plugin_folder}"] if config.plugin_folder else []),
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "MpiDefault=none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        # The nodes are emulated: what the file says counts, not what the host has.
        "SlurmdParameters=config_overrides",
        "ReturnToService=2",
        "GresTypes=gpu",
        "JobRequeue=1",
        # A job that could never run is refused when it is submitted, instead of waiting for ever.
        "EnforcePartLimits=ALL",
        "KillWait=10",
        "MinJobAge=3600",
        "MessageTimeout=30",
        "SlurmdTimeout=120",
        # A job whose waiting time is over starts when the scheduler looks next: by default once a minute.
        "SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0",
        "MailProg=/bin/true",
        *_accounting(config),
        *_priorities(config),
        *_nodes(config),
        *_partitions(config),
    ]
    return "\n".join(lines) + "\n"


def gres_conf(config: ClusterConfig) -> str:
    """``gres.conf``: which character devices stand for the GPUs of which node."""
    lines = ["# Rendered by ai-how from cluster.yaml.", "AutoDetect=off"]
    for node in config.nodes:
        for gres in node.gres:
            lines.append(f"NodeName={node.name} Name=gpu Type={gres.type} File={','.join(gres.files)}")
    return "\n".join(lines) + "\n"


def cgroup_conf(config: ClusterConfig) -> str:
    """``cgroup.conf``: an emulated cluster uses no control groups.

    Newer slurmd has a word for that. Older has none, and would look for the host's own kind and need root to use
    version 2; naming version 1 keeps it from looking, and nothing of it is used.
    """
    plugin = "disabled" if config.version >= (24, 5) else "cgroup/v1"
    return f"# Rendered by ai-how: an emulated cluster uses no control groups.\nCgroupPlugin={plugin}\n"


def slurmdbd_conf(config: ClusterConfig, *, storage_user: str) -> str:
    """``slurmdbd.conf``; the database is reached through MariaDB's socket, named by ``MYSQL_UNIX_PORT``."""
    lines = [
        "# Rendered by ai-how from cluster.yaml.",
        "AuthType=auth/munge",
        f"AuthInfo=socket={config.munge_socket}",
        "DbdHost=localhost",
        "DbdAddr=127.0.0.1",
        *_loopback_only(config),
        f"DbdPort={config.slurmdbd_port}",
        f"SlurmUser={config.user}",
        "StorageType=accounting_storage/mysql",
        "StorageHost=localhost",
        "StorageLoc=slurm_acct_db",
        f"StorageUser={storage_user}",
        f"LogFile={config.log}/slurmdbd.log",
        f"PidFile={config.run}/slurmdbd.pid",
        *([f"PluginDir={config.plugin_folder}"] if config.plugin_folder else []),
        *_purge(config.retention_days),
    ]
    return "\n".join(lines) + "\n"


def _purge(days: int | None) -> Iterable[str]:
    if days is not None:
        for record in ("Event", "Job", "Resv", "Step", "Suspend", "TXN", "Usage"):
            yield f"Purge{record}After={days}days"


def gres_count(gres: Iterable[Gres]) -> str:
    """``gpu:a100:2,gpu:h100:1``, the form of ``Gres=`` and ``--gres=``."""
    return ",".join(f"gpu:{one.type}:{one.count}" for one in gres)


def hostlist(names: Iterable[str]) -> str:
    """``node[01-03,07]`` for names that share a prefix and a width; Slurm's own short form."""
    numbered = sorted((name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]) for name in names)
    parts = []
    for (prefix, width), group in groupby(numbered, key=lambda pair: (pair[0], len(pair[1]))):
        ranges = list(_ranges(sorted(int(digits) for _, digits in group)))
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
            parts.append(f"{prefix}{ranges[0][0]:0{width}d}")
            continue
        spans = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in ranges]
        parts.append(f"{prefix}[{','.join(spans)}]")
    return ",".join(parts)


def _ranges(numbers: list[int]) -> Iterable[tuple[int, int]]:
    start = previous = numbers[0]
    for number in numbers[1:]:
        if number != previous + 1:
            yield start, previous
            start = number
        previous = number
    yield start, previous


def _loopback_only(config: ClusterConfig) -> Iterable[str]:
    """Without this the daemons listen on every interface; with it on the address that the host's name stands for.

    Where that is 127.0.1.1 or an address of a network, a reply to 127.0.0.1 would find nobody: there they listen
    on every interface, and munge alone keeps strangers out.
    """
    if config.loopback_name:
        yield "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"


def _accounting(config: ClusterConfig) -> Iterable[str]:
    return (
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={config.slurmdbd_port}",
        # With munge, this is how Slurm's own clients are told the socket for slurmdbd.
        f"AccountingStoragePass={config.munge_socket}",
        "AccountingStorageTRES=gres/gpu",
        "AccountingStoreFlags=job_script",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=2",
    )


def _priorities(config: ClusterConfig) -> Iterable[str]:
    """What accounts and QOS mean for the order of jobs, and who makes room for whom."""
    if config.enforced:
        yield "AccountingStorageEnforce=associations,limits,qos"
        yield "PriorityType=priority/multifactor"
        yield "PriorityWeightQOS=10000"
        yield "PriorityWeightFairshare=1000"
    if config.preemption:
        yield f"PreemptType=preempt/{config.preemption.type}"
        yield f"PreemptMode={config.preemption.mode}"
        if config.preemption.send_user_signal:
            # Slurm's manual has it under another name since.
            newer = config.version >= (24, 11)
            old, new = "SlurmctldParameters=preempt_send_user_signal", "PreemptParameters=send_user_signal"
            yield new if newer else old


def _nodes(config: ClusterConfig) -> Iterable[str]:
    for node in config.nodes:
        yield " ".join(_node(node, config.host))


def _node(node: Node, host: str) -> Iterable[str]:
    yield f"NodeName={node.name} NodeHostname={host} NodeAddr=127.0.0.1 Port={node.port}"
    yield f"CPUs={node.cpus} RealMemory={node.memory_mb}"
    if node.gres:
        yield f"Gres={gres_count(node.gres)}"
    yield "State=UNKNOWN"


def _partitions(config: ClusterConfig) -> Iterable[str]:
    # Without a default, a job that names no memory would take all that its nodes have.
    share = min(node.memory_mb // node.cpus for node in config.nodes)
    for partition in config.partitions:
        default = "YES" if partition.default else "NO"
        yield (
            f"PartitionName={partition.name} Nodes={hostlist(partition.nodes)} Default={default} "
            f"MaxTime={partition.max_time} DefaultTime={partition.default_time} "
            f"DefMemPerCPU={share} State=UP{_standing(partition)}"
        )


def _standing(partition: Partition) -> str:
    tier = "" if partition.priority is None else f" PriorityTier={partition.priority}"
    mode = f" PreemptMode={partition.preempt_mode}" if partition.preempt_mode else ""
    grace = f" GraceTime={partition.grace_time}" if partition.grace_time else ""
    return tier + mode + grace + (f" QOS={partition.qos}" if partition.qos else "")
