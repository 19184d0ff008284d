"""The models that are served, against each other and against the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ai_how.spec import walltime
from ai_how.spec.check import Found
from ai_how.spec.hpc import NORMAL_QOS, SITE_ACCOUNT, Partition
from ai_how.spec.load import Path
from ai_how.spec.message import did_you_mean
from ai_how.spec.model import SiteSpec
from ai_how.spec.serving import ENGINE_NAMES, ServedModel

_MODELS: Path = ("serving", "models")
_MIB = {"M": 1, "G": 1024, "T": 1024 * 1024}


def models(spec: SiteSpec) -> Iterator[Found]:
    """Names differ, counts are in order, and what is said of sleeping has something to say."""
    seen: set[str] = set()
    for index, model in enumerate(spec.serving.models):
        path = (*_MODELS, index)
        if model.name in seen:
            yield (*path, "name"), f"two models are served as '{model.name}'", "Give each its own name."
        seen.add(model.name)
        if model.engine is not None and model.engine not in ENGINE_NAMES:
            yield (
                (*path, "engine"),
                f"there is no engine '{model.engine}'",
                did_you_mean(model.engine, ENGINE_NAMES),
            )
        if model.replicas.min > model.replicas.max:
            yield (
                (*path, "replicas", "min"),
                f"'{model.name}' has {model.replicas.min} replicas at least and {model.replicas.max} at most",
                "Raise max, or lower min.",
            )
        if model.replicas.min > 0 and model.idle is not None:
            yield (
                (*path, "idle"),
                f"'{model.name}' never sleeps: it has at least {model.replicas.min} replica"
                f"{'s' if model.replicas.min > 1 else ''}",
                "Write `min: 0` under replicas, or remove idle.",
            )
        if model.canary and model.canary.source == model.source:
            yield (
                (*path, "canary", "source"),
                f"the canary of '{model.name}' is the version that it is held against",
                "Name another version, such as NAME:4.",
            )


def gateway(spec: SiteSpec) -> Iterator[Found]:
    """Models are served through the gateway."""
    if spec.serving.models and not spec.clusters.cloud.services.gateway.enabled:
        yield _MODELS, "models are served through the gateway, which is not enabled", (
            "Write `gateway: {enabled: true}` under clusters.cloud.services."
        )  # fmt: skip


def places(spec: SiteSpec) -> Iterator[Found]:
    """The partition, the account and the QOS of a model exist, and its replicas fit there."""
    slurm = spec.clusters.hpc.slurm_config
    if spec.clusters.hpc.provider == "existing" and "partitions" not in slurm.model_fields_set:
        return  # the file does not tell its partitions: Slurm there will
    own = spec.clusters.hpc.provider != "existing"
    names = [one.name for one in slurm.partitions]
    for index, model in enumerate(spec.serving.models):
        path = (*_MODELS, index, "resources")
        asked = model.resources
        name = asked.partition or spec.clusters.hpc.default_partition
        partition = next((one for one in slurm.partitions if one.name == name), None)
        for key, word, value, listed, more in (
            ("account", "account", asked.account, [one.name for one in slurm.accounts], SITE_ACCOUNT),
            ("qos", "QOS", asked.qos, [one.name for one in slurm.qos], NORMAL_QOS),
        ):
            known = [*listed, more] if own else listed
            # Where all of slurm_config is missing, the partition tells.
            if value is not None and value not in known and (listed or (own and partition is not None)):
                yield (*path, key), f"there is no {word} '{value}'", did_you_mean(value, known)
        if partition is not None:
            yield from _fits(spec, model, partition, path)
        # Where the default partition is missing too, that is told, and one list has both mistakes.
        elif asked.partition is not None and spec.clusters.hpc.default_partition in names:
            yield (*path, "partition"), f"there is no partition '{name}'", did_you_mean(name, names)


def _fits(spec: SiteSpec, model: ServedModel, partition: Partition, path: Path) -> Iterator[Found]:
    asked = model.resources
    longest = partition.max_time or spec.clusters.hpc.slurm_config.max_job_time
    if walltime.seconds(asked.time_limit) > walltime.seconds(longest):
        message = f"'{model.name}' asks for {asked.time_limit}, and the partition '{partition.name}' allows {longest}"
        yield (
            (*path, "time_limit"),
            message,
            "Lower it: a new replica takes over before the limit is reached.",
        )
    groups = [spec.group_of(node) for node in spec.clusters.hpc.nodes_of(partition)]
    if not groups:
        return
    cores, memory = max(one.cpu_cores for one in groups), max(one.memory_gb for one in groups)
    if asked.cpus > cores:
        message = f"'{model.name}' asks for {asked.cpus} CPUs, and no node of '{partition.name}' has more than {cores}"
        yield (*path, "cpus"), message, f"At most {cores}."
    if asked.memory and int(asked.memory[:-1]) * _MIB[asked.memory[-1]] > memory * 1024:
        message = f"'{model.name}' asks for {asked.memory}, and no node of '{partition.name}' has more than {memory}G"
        yield (*path, "memory"), message, f"At most {memory}G."
