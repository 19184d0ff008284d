"""The demo: everything once, for real, and timed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ai_how import __version__
from ai_how.errors import AiHowError
from ai_how.jobs.control import RecipeFile, find_recipe
from ai_how.jobs.model import JobFolder, JobRecord
from ai_how.services.catalogue import PROGRAMS, environments
from ai_how.serving.engines import find_engine
from ai_how.site import serving, work
from ai_how.site.collect import host_facts, job_facts, site_facts, versions
from ai_how.site.control import Site
from ai_how.site.model import Reporter
from ai_how.site.report.model import (
    Answer,
    DemoFacts,
    FinetuneFacts,
    JobFacts,
    ModelFacts,
    Part,
    Phase,
    Score,
    TrainFacts,
)
from ai_how.site.resolve import Asked

QUESTIONS = 6
#: Environments that the demo's jobs run in, besides those of the services.
JOB_ENVIRONMENTS = ("torch", "oumi", "llama-cpp")
COMMAND = "./ai-how demo"


class DemoReporter(Reporter, Protocol):
    """Hears of phases, too."""

    def phase(self, name: str) -> None: ...
    def phase_done(self, name: str, seconds: float, outcome: str) -> None: ...


@dataclass
class Timeline:
    """When each phase began and how long it took, in seconds since ``begin``."""

    reporter: DemoReporter
    begin: float = field(default_factory=time.monotonic)
    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str, part: Part) -> Iterator[list[str]]:
        """Time what happens inside; what is put into the list that is given tells how it came out."""
        started = time.monotonic()
        outcome: list[str] = []
        self.reporter.phase(name)
        yield outcome
        seconds = time.monotonic() - started
        self.phases.append(Phase(name, part, started - self.begin, seconds))
        self.reporter.phase_done(name, seconds, " ".join(outcome))


@dataclass(frozen=True)
class Ended:
    """A job of the demo that has completed."""

    folder: JobFolder
    record: JobRecord
    facts: JobFacts
    result: dict[str, Any]


def run_demo(site: Site, reporter: DemoReporter, report: Path) -> DemoFacts:
    """Set up, bring up, train, fine-tune, evaluate, convert, serve, ask. Raises whatever goes wrong on the way."""
    started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    line = Timeline(reporter)
    _set_up(site, line)
    with line.phase("bring the site up", "site") as outcome:
        site.up(reporter)
        outcome.append(f"{len(site.file.spec.node_names)} nodes and all services")
    train = _train(site, line)
    tuned, examined = _finetune(site, line)
    served, answers = _serve(site, line, tuned)
    with line.phase("take the site's facts", "site"):
        jobs = (train.job, tuned.facts, examined.facts, served[1])
        facts = DemoFacts(
            site=site_facts(site),
            phases=tuple(line.phases),
            train=train,
            finetune=_finetune_facts(tuned, examined),
            model=served[0],
            answers=tuple(answers),
            jobs=jobs,
            versions=tuple(versions(site, (*environments(site.file.spec), *JOB_ENVIRONMENTS))),
            host=host_facts(site),
            command=COMMAND,
            started=started,
            ai_how=__version__,
            report=str(report),
        )
    return facts


def _set_up(site: Site, line: Timeline) -> None:
    with line.phase("find or install the programs", "set-up") as outcome:
        found = site.toolbox.ensure((*PROGRAMS, *find_engine(work.ENGINE).libraries), line.reporter.note)
        outcome.append(f"{len(found)} programs")
    for name in (*environments(site.file.spec), *JOB_ENVIRONMENTS):
        with line.phase(f"environment {name}", "set-up"):
            site.environments.ensure(name, line.reporter.note)


def _train(site: Site, line: Timeline) -> TrainFacts:
    with line.phase("train digits on two nodes", "train") as outcome:
        ended = _job(site, find_recipe("digits"), "train", line)
        outcome.append(f"{ended.result['accuracy']:.1%} of held-out digits right")
    history = ended.result["history"]
    return TrainFacts(
        accuracy=ended.result["accuracy"],
        job=ended.facts,
        run_id=ended.record.run_id,
        model=ModelFacts("digits", int(ended.record.model_version or 0)),
        loss=tuple((entry["epoch"], entry["loss"]) for entry in history),
        accuracies=tuple((entry["epoch"], entry["accuracy"]) for entry in history),
        held_out=ended.result["held_out"],
        samples_per_second=ended.result.get("samples_per_second"),
    )


def _finetune(site: Site, line: Timeline) -> tuple[Ended, Ended]:
    with line.phase("fine-tune a small Llama", "finetune") as outcome:
        tuned = _job(site, find_recipe("site-facts"), "finetune", line)
        outcome.append(f"loss {tuned.result['loss_first']:.2f} to {tuned.result['loss_last']:.3f}")
    with line.phase("evaluate it", "finetune") as outcome:
        recipe = find_recipe("exact-match")
        arguments = {**recipe.recipe.arguments, "model": str(tuned.folder.model)}
        changed = recipe.recipe.model_copy(update={"arguments": arguments})
        examined = _job(site, RecipeFile(changed, recipe.path), "finetune", line)
        outcome.append(f"{examined.result['exact_match']:.1%} exactly right")
    return tuned, examined


def _finetune_facts(tuned: Ended, examined: Ended) -> FinetuneFacts:
    sets = examined.result["sets"]
    return FinetuneFacts(
        job=tuned.facts,
        run_id=tuned.record.run_id,
        loss=tuple((entry["step"], entry["loss"]) for entry in tuned.result["history"]),
        learnt=_score(sets["learnt"]),
        paraphrased=_score(sets["paraphrases"]),
    )


def _score(entry: dict[str, Any]) -> Score:
    return Score(round(entry["exact_match"] * entry["questions"]), entry["questions"])


def _serve(site: Site, line: Timeline, tuned: Ended) -> tuple[tuple[ModelFacts, JobFacts], list[Answer]]:
    name, version = tuned.record.model or "", tuned.record.model_version or "0"
    reference = f"{name}:{version}"
    with line.phase("convert it to GGUF", "serve") as outcome:
        model = work.gguf(site, reference, line.reporter.note)
        outcome.append(f"{model.path.stat().st_size / 1e6:.1f} MB")
    with line.phase("serve it", "serve") as outcome:
        asked = Asked(reference, time_limit="00:30:00")
        served = serving.serve(site, asked, line.reporter.note, change="upgrade")["answering"]
        job_id = served["job_id"] or 0
        outcome.append(f"job {job_id} on {served['node']}")
    facts = ModelFacts(name, int(version), work.ENGINE, model.path.stat().st_size)
    with line.phase("ask it through the gateway", "serve") as outcome:
        answers = list(_ask(site, name, tuned.folder.model))
        outcome.append(f"{sum(answer.right for answer in answers)} of {len(answers)} answers right")
    job = job_facts(site, job_id, "serve")
    if not answers or all(not answer.answered for answer in answers):
        raise AiHowError(f"the model '{name}' gave no answer", todo="`ai-how ps` shows its replica.")
    return (facts, job), answers


def _ask(site: Site, name: str, model: Path) -> Iterator[Answer]:
    """Questions of the exam through the gateway, with the ``openai`` package as anybody would use it."""
    from openai import OpenAI

    os.environ |= {"NO_PROXY": "127.0.0.1,localhost", **site.trusting}
    client = OpenAI(base_url=f"{site.gateway_url}/v1", api_key=site.gateway_token)
    for asked, expected in _chosen(model / "exam" / "learnt.jsonl"):
        began = time.monotonic()
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": asked}], temperature=0, max_tokens=64
        )
        text = (answer.choices[0].message.content or "").strip()
        yield Answer(asked, text, expected, (time.monotonic() - began) * 1000)


def _chosen(exam: Path) -> Sequence[tuple[str, str]]:
    """A few questions spread over the whole exam, so that several kinds of fact are among them."""
    turns = [json.loads(text)["messages"] for text in exam.read_text().splitlines()]
    stride = max(1, len(turns) // QUESTIONS)
    return [(ask["content"], answer["content"]) for ask, answer in turns[stride // 2 :: stride][:QUESTIONS]]


def _job(site: Site, file: RecipeFile, part: Part, line: Timeline) -> Ended:
    record = work.submit(site, file, line.reporter.note)
    record = work.wait(
        site, record, lambda job: line.reporter.note(f"job {job.id} is {job.state.lower()} {job.nodes}")
    )
    found = work.jobs_of(site).record(record.job_id)
    if found is None:
        raise AiHowError(f"the record of job {record.job_id} is gone")
    folder = found[0]
    return Ended(folder, record, job_facts(site, record.job_id, part), json.loads(folder.result.read_text()))
