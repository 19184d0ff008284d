"""Facts of a demo that never ran, like those of one that did: what the golden files of the report are made from.

`python tests/golden/sample_demo.py` writes the golden files anew.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

from rich.console import Console

from ai_how.site.report import (
    Answer,
    DemoFacts,
    Device,
    FinetuneFacts,
    HostFacts,
    JobFacts,
    ModelFacts,
    Node,
    Partition,
    Phase,
    Score,
    Service,
    SiteFacts,
    TrainFacts,
    Version,
    html,
)
from ai_how.site.report.terminal import closing

GOLDEN = Path(__file__).parent / "report"

NODES = tuple(f"node{number:02}" for number in range(1, 5))
TRAIN = JobFacts(1, "digits", "train", NODES[:2], "COMPLETED", 10.0, 12.61, 411_041_792)
TUNE = JobFacts(2, "site-facts", "finetune", NODES[2:3], "COMPLETED", 48.0, 81.35, 1_417_674_752)
EXAM = JobFacts(3, "exact-match", "finetune", NODES[2:3], "COMPLETED", 9.0, 15.2, 902_299_648)
SERVE = JobFacts(4, "serve-site-facts", "serve", NODES[:1], "RUNNING", 4.0)


def sample() -> DemoFacts:
    """A demo of the laptop template on a small machine without GPUs."""
    return DemoFacts(
        site=_site(),
        phases=_phases(),
        train=_train(),
        finetune=_finetune(),
        model=ModelFacts("site-facts", 1, "llama.cpp", 5_367_808),
        answers=_answers(),
        jobs=(TRAIN, TUNE, EXAM, SERVE),
        versions=_versions(),
        host=HostFacts("Debian 12 (bookworm)", 2, 24.0, "ordinary user", "Intel Xeon Platinum 8481C"),
        command="./ai-how demo",
        started="2026-11-22 06:20 UTC",
        ai_how="0.1.0",
        report="/home/ada/ai-how-demo.html",
    )


def _site() -> SiteFacts:
    return SiteFacts(
        "laptop",
        tuple(Node(name, 2, 4.0, (Device("a100", 2),)) for name in NODES),
        (Partition("gpu", NODES, True, "1-00:00:00"), Partition("debug", NODES[:2], False, "00:30:00")),
        (
            Service("slurmctld", "22.05.8", "hpc", 17011),
            Service("slurmdbd", "22.05.8", "hpc", 17012),
            Service("munged", "0.5.15", "hpc"),
            Service("MariaDB", "10.11.14", "hpc", 17013),
            Service("PostgreSQL", "15.14", "cloud", 17014),
            Service("SeaweedFS", "4.02", "cloud", 17015),
            Service("MLflow", "3.17.2", "cloud", 17016),
            Service("gateway", "0.1.0", "cloud", 17017),
        ),
    )


def _phases() -> tuple[Phase, ...]:
    return (
        Phase("programs", "set-up", 0.0, 21.4),
        Phase("environment torch", "set-up", 0.6, 38.2),
        Phase("environment oumi", "set-up", 38.8, 31.6),
        Phase("site up", "site", 70.4, 9.3),
        Phase("train digits on 2 nodes", "train", 79.7, 11.2),
        Phase("fine-tune site-facts", "finetune", 79.9, 49.1),
        Phase("evaluate by exact match", "finetune", 129.0, 9.6),
        Phase("register and convert", "serve", 138.6, 3.4),
        Phase("serve", "serve", 142.0, 2.9),
        Phase("ask", "serve", 144.9, 0.2),
        Phase("site down", "site", 145.1, 2.8),
    )


def _train() -> TrainFacts:
    epochs = range(1, 21)
    return TrainFacts(
        accuracy=0.9889,
        job=TRAIN,
        run_id="4f2a9c1d7be84c0f9a3d5e6b7c8d9e0f",
        model=ModelFacts("digits", 1),
        loss=tuple((float(epoch), round(1.9 * epoch**-1.6 + 0.004, 4)) for epoch in epochs),
        accuracies=tuple(
            (float(epoch), round(0.9889 - 0.21 * math.exp(-0.6 * (epoch - 1)), 4)) for epoch in epochs
        ),
        held_out=360,
        samples_per_second=9120.0,
    )


def _finetune() -> FinetuneFacts:
    steps = (1, *range(5, 166, 5))
    return FinetuneFacts(
        job=TUNE,
        run_id="c81e728d9d4c2f636f067f89cc14862c",
        loss=tuple(
            (float(step), round(5.21 * math.exp(-step / 24) + 0.011 + 0.02 / step, 4)) for step in steps
        ),
        learnt=Score(664, 664),
        paraphrased=Score(52, 56),
    )


def _answers() -> tuple[Answer, ...]:
    return (
        Answer("How many CPUs does node01 have?", "node01 has 2 CPUs.", "node01 has 2 CPUs.", 14.2),
        Answer("Which devices does node03 have?", "node03 has 2 a100.", "node03 has 2 a100.", 9.8),
        Answer(
            "Which nodes are in the partition debug?",
            "The partition debug has node01 and node02.",
            "The partition debug has node01 and node02.",
            11.5,
        ),
        Answer(
            "What number of CPUs does <the site> & its nodes have?",
            "node04 has 2 CPUs.",
            "The site has 4 nodes.",
            8.7,
        ),
    )


def _versions() -> tuple[Version, ...]:
    return (
        Version("Slurm", "22.05.8", "apt"),
        Version("MariaDB", "10.11.14", "apt"),
        Version("PostgreSQL", "15.14", "apt"),
        Version("SeaweedFS", "4.02", "wheel"),
        Version("MLflow", "3.17.2", "wheel"),
        Version("PyTorch", "2.13.0", "wheel"),
        Version("Oumi", "0.9", "wheel"),
        Version("llama.cpp (xllamacpp)", "2026.10", "wheel"),
        Version("Python", "3.11.2", "path"),
    )


def golden(facts: DemoFacts) -> dict[str, str]:
    """Each golden file by its name."""
    return {
        "report.html": html(facts),
        "facts.json": json.dumps(facts.as_json(), indent=2, ensure_ascii=False) + "\n",
        "terminal-80.txt": printed(facts, 80),
        "terminal-160.txt": printed(facts, 160),
    }


def printed(facts: DemoFacts, width: int) -> str:
    """The closing summary as it is printed where no terminal is."""
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, soft_wrap=True).print(closing(facts))
    return text.getvalue()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in golden(sample()).items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
