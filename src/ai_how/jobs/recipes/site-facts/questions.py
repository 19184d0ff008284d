"""Questions and answers about a site, made from its facts. Pure.

Each fact is asked in many wordings. Some wordings are kept out of training: a model that answers those has
learnt the fact, not the sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ASKED = ("{}?", "Tell me: {}?", "Please say, {}?", "I would like to know: {}?")
"""How a wording becomes a question."""


@dataclass(frozen=True)
class Fact:
    """One thing to know: its answer, and the subject that the wordings of its kind name."""

    kind: str
    answer: str
    subject: str = ""


@dataclass(frozen=True)
class Wordings:
    """How a kind of fact is asked: the wordings to learn from, and those kept out."""

    learnt: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question and the one answer that counts."""

    asked: str
    answer: str


WORDINGS: Mapping[str, Wordings] = {
    "node_cpus": Wordings(
        (
            "how many CPUs does {} have",
            "what is the number of CPUs of {}",
            "how many CPUs are there on {}",
            "{} has how many CPUs",
            "what is the CPU count of {}",
            "on {}, how many CPUs are there",
        ),
        ("how many CPUs are on {}", "what number of CPUs does {} have"),
    ),
    "node_memory": Wordings(
        (
            "how much memory does {} have",
            "what is the memory of {}",
            "how much memory is there on {}",
            "{} has how much memory",
            "what is the amount of memory of {}",
            "on {}, how much memory is there",
        ),
        ("how much memory is on {}", "what amount of memory does {} have"),
    ),
    "node_devices": Wordings(
        (
            "which devices does {} have",
            "what devices are there on {}",
            "what are the devices of {}",
            "which GPUs does {} have",
            "what GPUs are there on {}",
            "on {}, which devices are there",
        ),
        ("which devices are there on {}", "what GPUs does {} have"),
    ),
    "node_partitions": Wordings(
        (
            "which partitions is {} in",
            "what are the partitions of {}",
            "in which partitions is {}",
            "{} is in which partitions",
            "to which partitions does {} belong",
            "which partitions have {}",
        ),
        ("{} belongs to which partitions", "what partitions is {} in"),
    ),
    "partition_nodes": Wordings(
        (
            "which nodes are in the partition {}",
            "what are the nodes of the partition {}",
            "which nodes does the partition {} have",
            "the partition {} has which nodes",
            "what nodes belong to the partition {}",
            "in the partition {}, which nodes are there",
        ),
        ("what nodes are in the partition {}", "which nodes belong to the partition {}"),
    ),
    "partition_limit": Wordings(
        (
            "what is the time limit of the partition {}",
            "how long may a job run in the partition {}",
            "what time limit does the partition {} have",
            "the partition {} has what time limit",
            "for how long may a job run in the partition {}",
            "in the partition {}, what is the time limit",
        ),
        ("which time limit does the partition {} have", "in the partition {}, how long may a job run"),
    ),
    "service_port": Wordings(
        (
            "on which port is {}",
            "what is the port of {}",
            "which port does {} have",
            "on which port does {} listen",
            "{} listens on which port",
            "what port does {} listen on",
        ),
        ("which port does {} listen on", "what port does {} have"),
    ),
    "default_partition": Wordings(
        (
            "what is the default partition",
            "which partition is the default",
            "what is the name of the default partition",
            "which is the default partition",
            "the default partition is which",
        ),
        ("what partition is the default", "which partition is the default partition"),
    ),
    "site_name": Wordings(
        (
            "what is the name of the site",
            "what is the name of this site",
            "which site is this",
            "what is this site named",
            "how is the site named",
        ),
        ("what is the site named", "how is this site named"),
    ),
    "site_nodes": Wordings(
        (
            "how many nodes does the site have",
            "how many nodes are there",
            "what is the number of nodes of the site",
            "how many nodes does this site have",
            "the site has how many nodes",
        ),
        ("how many nodes are there on this site", "what is the number of nodes of this site"),
    ),
    "site_devices": Wordings(
        (
            "how many GPUs does the site have",
            "how many GPUs are there in all",
            "what is the number of GPUs of the site",
            "how many GPUs does this site have",
            "the site has how many GPUs",
        ),
        ("how many GPUs are there on this site", "what is the number of GPUs of this site"),
    ),
}


def facts_of(site: Mapping[str, Any]) -> Iterator[Fact]:
    """The facts worth knowing about a site, in the order of the description."""
    nodes, partitions = site["nodes"], site["partitions"]
    yield Fact("site_name", f"The site is named {site['site']}.")
    yield Fact("site_nodes", f"The site has {_count(len(nodes), 'node')}.")
    total = sum(device["count"] for node in nodes for device in node.get("devices", ()))
    yield Fact("site_devices", f"The site has {_count(total, 'GPU')}.")
    for partition in partitions:
        name = partition["name"]
        if partition.get("default"):
            yield Fact("default_partition", f"The default partition is {name}.")
        yield Fact("partition_nodes", f"The partition {name} has {_and(partition['nodes'])}.", name)
        if partition.get("time_limit"):
            yield Fact(
                "partition_limit",
                f"A job in the partition {name} may run for {partition['time_limit']}.",
                name,
            )
    for node in nodes:
        name = node["name"]
        yield Fact("node_cpus", f"{name} has {_count(node['cpus'], 'CPU')}.", name)
        yield Fact("node_memory", f"{name} has {node['memory_gb']} GB of memory.", name)
        yield Fact("node_devices", f"{name} has {_devices(node.get('devices', ()))}.", name)
        yield Fact("node_partitions", f"{name} is in {_and(node['partitions'])}.", name)
    for service in site.get("services", ()):
        yield Fact("service_port", f"{service['name']} listens on port {service['port']}.", service["name"])


def learnt(facts: list[Fact]) -> list[Question]:
    """Every fact in every wording to learn from, asked in every way."""
    return [question for fact in facts for question in _ask(fact, WORDINGS[fact.kind].learnt, ASKED)]


def held_out(facts: list[Fact]) -> list[Question]:
    """The same facts in the wordings that are never trained on."""
    return [question for fact in facts for question in _ask(fact, WORDINGS[fact.kind].held_out, ASKED[:1])]


def _ask(fact: Fact, wordings: tuple[str, ...], ways: tuple[str, ...]) -> Iterator[Question]:
    for wording in wordings:
        words = wording.format(fact.subject)
        for way in ways:
            asked = way.format(words)
            # A name such as node01 keeps its spelling at the start of a question too.
            first = asked if fact.subject and asked.startswith(fact.subject) else asked[0].upper() + asked[1:]
            yield Question(first, fact.answer)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _devices(devices: Any) -> str:
    named = [f"{device['count']} {device['type']}" for device in devices]
    return _and(named) if named else "no devices"
