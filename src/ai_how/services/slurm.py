"""Slurm's three kinds of daemon: slurmdbd, slurmctld and one slurmd a node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ai_how.run import Command
from ai_how.services import mariadb, munge
from ai_how.services.layout import Layout
from ai_how.services.model import CommandProbe, File, PortProbe, Service, Setting, Settle
from ai_how.services.nodes import EmulatedNode, nodes_of, partitions_of
from ai_how.slurm import accounts, render
from ai_how.slurm.model import ClusterConfig, Gres, Node, Preemption
from ai_how.spec.model import SlurmConfig

_PLUGINS = ("usr/lib/*/slurm-wlm", "usr/lib/*/slurm", "usr/lib/slurm-wlm")


def state_folder(layout: Layout) -> Path:
    """Where slurmctld writes down what it knows."""
    return layout.data / "slurmctld"


def cluster(setting: Setting) -> ClusterConfig:
    """The Slurm cluster that the file describes."""
    layout, slurm = setting.layout, _slurm_config(setting)
    return ClusterConfig(
        name="hpc",
        host=setting.host.name,
        loopback_name=setting.host.loopback_name,
        user=setting.host.user,
        slurmctld_port=setting.ports["slurmctld"],
        slurmdbd_port=setting.ports["slurmdbd"],
        munge_socket=munge.socket(layout),
        etc=layout.etc / "slurm",
        run=layout.run / "slurm",
        log=layout.log,
        state=state_folder(layout),
        spool=layout.data / "slurmd",
        nodes=tuple(
            Node(
                name=node.name,
                port=setting.ports[f"slurmd-{node.name}"],
                cpus=node.cpus,
                memory_mb=node.memory_gb * 1024,
                gres=_gres(setting, node),
            )
            for node in nodes_of(setting.spec, setting.gpus)
        ),
        partitions=tuple(partitions_of(setting.spec)),
        plugin_folder=setting.beside("slurmctld", *_PLUGINS),
        version=_version(setting),
        enforced=bool(slurm.qos or slurm.accounts),
        preemption=_preemption(slurm),
        retention_days=slurm.accounting.retention_days,
    )


def _preemption(slurm: SlurmConfig) -> Preemption | None:
    """Slurm's words for who makes room, and how."""
    wish = slurm.preemption
    if wish.type == "none":
        return None
    mode = {"requeue": "REQUEUE", "suspend": "SUSPEND,GANG", "cancel": "CANCEL"}[wish.mode]
    return Preemption({"partition": "partition_prio", "qos": "qos"}[wish.type], mode, wish.send_user_signal)


def client_env(setting: Setting) -> Mapping[str, str]:
    """What Slurm's commands need to talk to this cluster; nothing where it is somebody else's."""
    if setting.spec.clusters.hpc.provider == "existing":
        return {}
    return {
        **setting.program_env("sbatch", "scontrol", "sacct"),
        "SLURM_CONF": str(setting.layout.etc / "slurm" / "slurm.conf"),
    }


def define_slurmdbd(setting: Setting) -> Service:
    config = cluster(setting)
    user = setting.host.user
    env = {
        **setting.program_env("slurmdbd"),
        "SLURM_CONF": str(config.etc / "slurm.conf"),
        "MYSQL_UNIX_PORT": str(mariadb.socket(setting.layout)),
    }
    client = client_env(setting)
    return Service(
        name="slurmdbd",
        purpose="keeps Slurm's accounting",
        argv=(setting.program("slurmdbd"), "-D"),
        env=env,
        folders=(config.etc, config.run),
        files=(File(config.etc / "slurmdbd.conf", render.slurmdbd_conf(config, storage_user=user)),),
        reads=configuration(config),
        after=("munged", "mariadb"),
        probe=CommandProbe(
            Command((setting.program("sacctmgr"), "--noheader", "show", "cluster"), env=client, timeout=10)
        ),
        settle=_told(setting, accounts.statements(_slurm_config(setting), config.name, user)),
        ports={"slurmdbd": config.slurmdbd_port},
    )


def define_slurmctld(setting: Setting) -> Service:
    config = cluster(setting)
    env = {**setting.program_env("slurmctld"), "SLURM_CONF": str(config.etc / "slurm.conf")}
    scontrol = setting.program("scontrol")
    return Service(
        name="slurmctld",
        purpose="Slurm's controller",
        argv=(setting.program("slurmctld"), "-D"),
        env=env,
        folders=(config.etc, config.run, config.state, config.spool),
        files=configuration(config),
        after=("munged", "slurmdbd"),
        probe=CommandProbe(Command((scontrol, "ping"), env=client_env(setting), timeout=10), expect=" is UP"),
        settle=_told(setting, accounts.limits(_slurm_config(setting))),
        ports={"slurmctld": config.slurmctld_port},
    )


def _told(setting: Setting, statements: Iterable[tuple[str, ...]]) -> tuple[Settle, ...]:
    sacctmgr = (setting.program("sacctmgr"), "--immediate", "--quiet")
    return tuple(
        Settle(Command((*sacctmgr, *words), env=client_env(setting)), already=accounts.ALREADY)
        for words in statements
    )


def _slurm_config(setting: Setting) -> SlurmConfig:
    return setting.spec.clusters.hpc.slurm_config


def configuration(config: ClusterConfig) -> tuple[File, ...]:
    """The files that every daemon and every client of this cluster reads."""
    texts = {
        "slurm.conf": render.slurm_conf(config),
        "gres.conf": render.gres_conf(config),
        "cgroup.conf": render.cgroup_conf(config),
    }
    return tuple(File(config.etc / name, text, 0o644) for name, text in texts.items())


def define_slurmd(setting: Setting) -> Iterator[Service]:
    """One service a node."""
    config = cluster(setting)
    env = {**setting.program_env("slurmd"), "SLURM_CONF": str(config.etc / "slurm.conf")}
    stepd = setting.programs.get("slurmstepd")
    stepd_words = ("-d", str(stepd.path)) if stepd else ()
    for node in config.nodes:
        yield Service(
            name=f"slurmd-{node.name}",
            purpose=f"Slurm's daemon on {node.name}",
            argv=(setting.program("slurmd"), "-D", "-N", node.name, *stepd_words),
            env={**env, "AI_HOW_NODE": _shape(node)},
            folders=(config.spool / node.name,),
            after=("slurmctld",),
            probe=PortProbe(node.port),
            ports={f"slurmd-{node.name}": node.port},
        )


def _version(setting: Setting) -> tuple[int, int]:
    """Slurm's major and minor version; the oldest that is supported while it is not known."""
    found = setting.programs.get("slurmctld")
    numbers = re.match(r"(\d+)\.(\d+)", (found.version or "") if found else "")
    return (int(numbers[1]), int(numbers[2])) if numbers else (22, 5)


def _shape(node: Node) -> str:
    """What a slurmd must be restarted for: its own line, not its neighbours'."""
    return f"{node.port}/{node.cpus}/{node.memory_mb}/{render.gres_count(node.gres)}"


def _gres(setting: Setting, node: EmulatedNode) -> tuple[Gres, ...]:
    """Simulated GPUs: Slurm wants character devices behind them, and any will do."""
    free = list(setting.host.character_devices)
    found = []
    for kind, count in node.devices.items():
        files, free = tuple(free[:count]), free[count:]
        found.append(Gres(kind, files))
    return tuple(found)
