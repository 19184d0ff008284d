"""The facts of a demo as one HTML file that needs nothing else. Pure, but for reading the style sheet beside it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from statistics import median

from ai_how.draw import charts, words
from ai_how.draw.markup import Markup, element, join
from ai_how.draw.page import chart_card, figure_card, footer, key, page, section, table
from ai_how.site.report.model import PARTS, Answer, DemoFacts, JobFacts, Part, Phase, Point, Score, covered
from ai_how.site.report.phases import phase_bar, time_axis
from ai_how.site.report.topology import topology

PART_NAMES: dict[Part, str] = {
    "set-up": "Set-up",
    "site": "Site",
    "train": "Digits",
    "finetune": "Language model",
    "serve": "Serving",
}


def html(facts: DemoFacts) -> str:
    """The whole report."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    body = join(_header(facts), _main(facts), footer(facts.ai_how, facts.started))
    return page(f"{facts.site.name}: the AI-HOW demo", style, body)


def _main(facts: DemoFacts) -> Markup:
    return element(
        "main",
        _figures(facts),
        _timeline(facts),
        _learning(facts),
        _answers(facts),
        _site(facts),
        _accounting(facts.jobs),
        _versions(facts),
        _again(facts),
    )


def _header(facts: DemoFacts) -> Markup:
    host, setup, after = facts.host, facts.setup_seconds, facts.after_setup_seconds
    return element(
        "header",
        element(
            "p", element("b", "AI-HOW"), f" {facts.ai_how}", element("span", "demo report"), class_="brand"
        ),
        element(
            "h1",
            "Trained, ",
            element("span", "fine-tuned"),
            ", served and asked in ",
            element("em", words.duration(facts.seconds)),
        ),
        element(
            "p",
            f"The site “{facts.site.name}” on {host.system}, {words.count(host.cpus, 'CPU')}, "
            f"{host.memory_gb:g}{words.THIN}GB, {host.computed_on}, as {host.user}. {facts.started}.",
            class_="lead",
        ),
        charts.split_bar(setup, after),
        element(
            "p",
            key("set-up", f"{words.seconds(setup)} set-up"),
            key("rest", f"{words.seconds(after)} for all the rest"),
            class_="keys",
        ),
    )


def _figures(facts: DemoFacts) -> Markup:
    train, tuned = facts.train, facts.finetune
    return element(
        "section",
        figure_card(
            "Accuracy on handwritten digits",
            words.percent(train.accuracy),
            f"of {train.held_out} held-out images; trained on {words.count(len(train.job.nodes), 'node')}",
            charts.share_bar(train.accuracy, "train"),
        ),
        figure_card(
            "Exact match of the language model",
            words.percent(tuned.learnt.exact_match),
            f"of what it learnt; {words.percent(tuned.paraphrased.exact_match)} of held-out paraphrases",
            charts.share_bar(tuned.learnt.exact_match, "finetune"),
        ),
        figure_card(
            "Loss of the fine-tuning",
            join(words.times(tuned.loss_first, tuned.loss_last), element("small", " smaller")),
            f"from {words.loss(tuned.loss_first)} to {words.loss(tuned.loss_last)} in {tuned.loss[-1][0]:g} steps",
            charts.sparkline(tuned.loss, "finetune"),
        ),
        figure_card(
            "Answers through the gateway",
            join(f"{facts.right_answers}", element("small", f" of {len(facts.answers)} right")),
            _speed(facts.answers),
            charts.share_bar(facts.right_answers / (len(facts.answers) or 1), "serve"),
        ),
        class_="figures",
        aria_label="The figures",
    )


def _speed(answers: Sequence[Answer]) -> str:
    if not answers:
        return "nothing was asked"
    return f"{words.milliseconds(median(answer.milliseconds for answer in answers))} each, in the median"


def _timeline(facts: DemoFacts) -> Markup:
    total = facts.seconds or 1.0
    rows = [
        element(
            "li",
            element("span", phase.name, class_="phase"),
            phase_bar(phase, total),
            element("span", words.seconds(phase.seconds), class_="seconds"),
        )
        for phase in facts.phases
    ]
    present = [part for part in PARTS if any(phase.part == part for phase in facts.phases)]
    keys = [key(part, f"{PART_NAMES[part]} {words.seconds(_spent(facts.phases, part))}") for part in present]
    return section(
        "How the time went",
        "Seconds since the command was given. Phases that overlap ran at the same time.",
        element(
            "div",
            element("p", *keys, class_="keys"),
            element("ol", *rows, element("li", time_axis(total), class_="ticks", aria_hidden="true")),
            class_="card timeline",
        ),
    )


def _spent(phases: Sequence[Phase], part: Part) -> float:
    return covered(tuple(phase for phase in phases if phase.part == part))


def _learning(facts: DemoFacts) -> Markup:
    train, tuned = facts.train, facts.finetune
    speed = f"{train.samples_per_second:,.0f} images/s, " if train.samples_per_second else ""
    return section(
        "How they learnt",
        f"The digits by data-parallel PyTorch on {words.node_list(train.job.nodes)}; the language model by Oumi "
        f"on {words.node_list(tuned.job.nodes)}. {facts.host.computed_on}.",
        element(
            "div",
            chart_card(
                "Digits: loss", f"{speed}run {train.run_id[:8]}",
                charts.line_chart(
                    train.loss, part="train", label=_told("loss of the digits", train.loss, words.loss),
                    across="epoch", value=words.loss,
                ),
            ),
            chart_card(
                "Digits: accuracy", f"on {train.held_out} held-out images",
                charts.line_chart(
                    train.accuracies, part="train", across="epoch", value=words.percent,
                    label=_told("accuracy on held-out digits", train.accuracies, words.percent),
                ),
            ),
            chart_card(
                "Language model: loss", f"run {tuned.run_id[:8]}",
                charts.line_chart(
                    tuned.loss, part="finetune", label=_told("loss of the fine-tuning", tuned.loss, words.loss),
                    across="step", value=words.loss,
                ),
            ),
            class_="charts",
        ),
    )  # fmt: skip


def _told(what: str, points: Sequence[Point], value: charts.Reader) -> str:
    if not points:
        return f"No {what} was recorded"
    return f"The {what}, from {value(points[0][1])} to {value(points[-1][1])} in {len(points)} points"


def _answers(facts: DemoFacts) -> Markup:
    model, tuned = facts.model, facts.finetune
    engine = f", served by {model.engine}" if model.engine else ""
    size = f" ({words.memory(model.size_bytes)})" if model.size_bytes else ""
    return section(
        "What it answers",
        f"The model {model.name} version {model.version}{engine}{size}, asked through the gateway with the openai "
        "client. Right means the expected text, to the letter.",
        element("ol", *[_answer(answer) for answer in facts.answers], class_="answers"),
        element(
            "div",
            _exam("Questions it learnt", tuned.learnt),
            _exam("Held-out paraphrases, never trained on", tuned.paraphrased),
            class_="exams",
        ),
    )


def _answer(answer: Answer) -> Markup:
    verdict = "✓ right" if answer.right else "✗ wrong"
    time = words.milliseconds(answer.milliseconds)
    return element(
        "li",
        element("p", answer.asked, class_="asked"),
        element("p", answer.answered, class_="answered"),
        None if answer.right else element("p", f"expected: {answer.expected}", class_="expected"),
        element(
            "p",
            element("span", verdict, class_="right" if answer.right else "wrong"),
            f" · {time}",
            class_="note",
        ),
        class_="card",
    )


def _exam(title: str, score: Score) -> Markup:
    return element(
        "div",
        element("h3", title),
        element("p", element("b", words.percent(score.exact_match)), f" {score.right} of {score.questions}"),
        charts.share_bar(score.exact_match, "finetune"),
        class_="card",
    )


def _site(facts: DemoFacts) -> Markup:
    devices = facts.site.devices
    simulated = sum(device.count for device in devices if device.simulated)
    lead = "Every node is a process on this machine. " if facts.site.provider == "local" else ""
    lead += "A coloured dot marks a node where a job of that part ran."
    if simulated:
        lead += (
            f" Dashed squares are simulated devices, {simulated} in all: Slurm schedules them as it would real ones,"
            " and nothing computes on them."
        )
    ran = [part for part in PARTS if any(job.part == part for job in facts.jobs)]
    keys = element("p", *[key(part, PART_NAMES[part]) for part in ran], class_="keys")
    return section("The site", lead, element("div", keys, topology(facts.site, facts.jobs), class_="card"))


def _accounting(jobs: Sequence[JobFacts]) -> Markup:
    rows = [
        (
            str(job.job_id),
            join(element("i", class_=job.part), job.name),
            words.node_list(job.nodes),
            job.state,
            words.seconds(job.elapsed_seconds),
            "not recorded" if job.cpu_seconds is None else words.seconds(job.cpu_seconds),
            words.memory(job.max_memory_bytes),
        )
        for job in jobs
    ]
    names = ("Job", "Name", "Nodes", "State", "Elapsed", "CPU time", "Most memory")
    return section(
        "What Slurm recorded", "Slurm’s own accounting of every job.", table(names, rows, numbers=(4, 5, 6))
    )


def _versions(facts: DemoFacts) -> Markup:
    host = facts.host
    machine = [
        ("System", host.system),
        ("Processor", f"{words.count(host.cpus, 'CPU')}{', ' + host.cpu_model if host.cpu_model else ''}"),
        ("Memory", f"{host.memory_gb:g}{words.THIN}GB"),
        ("GPUs", ", ".join(host.gpus) or "none: CPU only"),
        ("Run as", host.user),
        ("AI-HOW", facts.ai_how),
    ]
    rows = [(version.program, version.version, version.origin) for version in facts.versions]
    return element(
        "div",
        section("Versions", None, table(("Program", "Version", "From"), rows)),
        section("The machine", None, table((), machine)),
        class_="two",
    )


def _again(facts: DemoFacts) -> Markup:
    return section(
        "Do it again",
        None,
        element("pre", element("code", facts.command)),
    )
