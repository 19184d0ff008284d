"""The facts of a demo: what was brought up, what ran, what came of it and how long it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Part = Literal["set-up", "site", "train", "finetune", "serve"]
"""What a phase or a job belongs to; each part has one colour, everywhere."""

PARTS: tuple[Part, ...] = ("set-up", "site", "train", "finetune", "serve")

Point = tuple[float, float]
"""A step (or an epoch) and the value there."""


@dataclass(frozen=True)
class Device:
    """Devices of one model on a node. Simulated ones are scheduled, but nothing computes on them."""

    model: str
    count: int
    simulated: bool = True


@dataclass(frozen=True)
class Node:
    """A compute node."""

    name: str
    cpus: int
    memory_gb: float
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True)
class Partition:
    """A partition of the Slurm cluster; ``time_limit`` as Slurm writes it."""

    name: str
    nodes: tuple[str, ...]
    default: bool = False
    time_limit: str | None = None


@dataclass(frozen=True)
class Service:
    """A service of the site, and the side it belongs to. The one named ``gateway`` stands between the two."""

    name: str
    version: str
    cluster: Literal["hpc", "cloud"]
    port: int | None = None


@dataclass(frozen=True)
class SiteFacts:
    """The site that the demo brought up."""

    name: str
    nodes: tuple[Node, ...]
    partitions: tuple[Partition, ...]
    services: tuple[Service, ...]
    provider: str = "local"

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices of all nodes, added up by model."""
        counts: dict[tuple[str, bool], int] = {}
        for device in (device for node in self.nodes for device in node.devices):
            key = (device.model, device.simulated)
            counts[key] = counts.get(key, 0) + device.count
        return tuple(Device(model, count, simulated) for (model, simulated), count in counts.items())


@dataclass(frozen=True)
class Phase:
    """A stretch of the demo: ``start`` in seconds since the demo began. Phases may overlap."""

    name: str
    part: Part
    start: float
    seconds: float

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass(frozen=True)
class JobFacts:
    """A job by Slurm's own accounting: seconds and bytes; None where Slurm recorded nothing."""

    job_id: int
    name: str
    part: Part
    nodes: tuple[str, ...]
    state: str
    elapsed_seconds: float
    cpu_seconds: float | None = None
    max_memory_bytes: int | None = None


@dataclass(frozen=True)
class ModelFacts:
    """A registered model. ``engine`` served it, when one did; ``size_bytes`` is what the engine loaded."""

    name: str
    version: int
    engine: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class TrainFacts:
    """The training of the digits. ``loss`` and ``accuracies`` are by epoch; accuracy is on held-out digits."""

    accuracy: float
    job: JobFacts
    run_id: str
    model: ModelFacts
    loss: tuple[Point, ...]
    accuracies: tuple[Point, ...]
    held_out: int
    samples_per_second: float | None = None


@dataclass(frozen=True)
class Score:
    """How many of the questions were answered exactly right."""

    right: int
    questions: int

    @property
    def exact_match(self) -> float:
        return self.right / self.questions if self.questions else 0.0


@dataclass(frozen=True)
class FinetuneFacts:
    """The fine-tuning of the language model, and its exam: what it learnt, and held-out paraphrases of it."""

    job: JobFacts
    run_id: str
    loss: tuple[Point, ...]
    learnt: Score
    paraphrased: Score

    @property
    def loss_first(self) -> float:
        return self.loss[0][1]

    @property
    def loss_last(self) -> float:
        return self.loss[-1][1]


@dataclass(frozen=True)
class Answer:
    """A question asked through the gateway, and how long its answer took."""

    asked: str
    answered: str
    expected: str
    milliseconds: float

    @property
    def right(self) -> bool:
        return self.answered.strip() == self.expected.strip()


@dataclass(frozen=True)
class Version:
    """A program or package, its version, and where it came from (``apt``, ``wheel``, ``path`` ...)."""

    program: str
    version: str
    origin: str


@dataclass(frozen=True)
class HostFacts:
    """The machine. ``gpus`` are the real ones that the jobs computed on; none means CPU only."""

    system: str
    cpus: int
    memory_gb: float
    user: Literal["root", "ordinary user"]
    cpu_model: str = ""
    gpus: tuple[str, ...] = ()

    @property
    def computed_on(self) -> str:
        return ", ".join(self.gpus) or "CPU only"


@dataclass(frozen=True)
class DemoFacts:
    """All that a demo has to tell. ``started`` is a date and time as text; ``report`` the file's path."""

    site: SiteFacts
    phases: tuple[Phase, ...]
    train: TrainFacts
    finetune: FinetuneFacts
    model: ModelFacts
    answers: tuple[Answer, ...]
    jobs: tuple[JobFacts, ...]
    versions: tuple[Version, ...]
    host: HostFacts
    command: str
    started: str
    ai_how: str
    report: str

    @property
    def seconds(self) -> float:
        """From the first moment to the last."""
        return max((phase.end for phase in self.phases), default=0.0)

    @property
    def setup_seconds(self) -> float:
        """The time during which anything was being set up; overlapping set-up phases count once."""
        return covered(tuple(phase for phase in self.phases if phase.part == "set-up"))

    @property
    def after_setup_seconds(self) -> float:
        return self.seconds - self.setup_seconds

    @property
    def right_answers(self) -> int:
        return sum(answer.right for answer in self.answers)

    def as_json(self) -> dict[str, Any]:
        """What ``ai-how demo --json`` prints."""
        return {
            "phases": [_phase(phase) for phase in self.phases],
            "seconds": round(self.seconds, 2),
            "setup_seconds": round(self.setup_seconds, 2),
            "after_setup_seconds": round(self.after_setup_seconds, 2),
            "train": _train(self.train),
            "finetune": _finetune(self.finetune),
            "model": asdict(self.model),
            "answers": [{**asdict(answer), "right": answer.right} for answer in self.answers],
            "report": self.report,
            "site": asdict(self.site),
            "jobs": [asdict(job) for job in self.jobs],
            "versions": [asdict(version) for version in self.versions],
            "host": asdict(self.host),
            "command": self.command,
            "started": self.started,
            "ai_how": self.ai_how,
        }


def covered(phases: tuple[Phase, ...]) -> float:
    """Seconds during which at least one of the phases was under way."""
    total, reached = 0.0, 0.0
    for phase in sorted(phases, key=lambda phase: phase.start):
        total += max(0.0, phase.end - max(phase.start, reached))
        reached = max(reached, phase.end)
    return total


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "seconds": round(phase.seconds, 2),
        "start": round(phase.start, 2),
        "part": phase.part,
    }


def _train(train: TrainFacts) -> dict[str, Any]:
    return {
        "accuracy": train.accuracy,
        "nodes": len(train.job.nodes),
        "job_id": train.job.job_id,
        "run_id": train.run_id,
        "model": {"name": train.model.name, "version": train.model.version},
        "held_out": train.held_out,
        "loss": [list(point) for point in train.loss],
        "accuracies": [list(point) for point in train.accuracies],
        "samples_per_second": train.samples_per_second,
    }


def _finetune(finetune: FinetuneFacts) -> dict[str, Any]:
    return {
        "loss_first": finetune.loss_first,
        "loss_last": finetune.loss_last,
        "exact_match": finetune.learnt.exact_match,
        "paraphrase_exact_match": finetune.paraphrased.exact_match,
        "job_id": finetune.job.job_id,
        "run_id": finetune.run_id,
        "learnt": asdict(finetune.learnt),
        "paraphrased": asdict(finetune.paraphrased),
        "loss": [list(point) for point in finetune.loss],
    }
