"""Writes the reference of the command line and of the files from the code itself, each time the docs are built."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from ai_how.bench import survey
from ai_how.cli import COMMANDS
from ai_how.host.recorded import InventoryFile
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.checks import CHECKS
from ai_how.spec.document import flow
from ai_how.spec.keys import Key, keys_of
from ai_how.spec.model import SiteSpec
from ai_how.spec.recipe import Recipe
from ai_how.spec.schema import schema_of
from ai_how.spec.template import PURPOSES, laptop

#: What the kinds of values mean that are no plain numbers or texts.
FORMS = """\
| kind | what it is |
|---|---|
| name | a lower-case letter, then letters, digits and `-`, 31 characters at most |
| time | in Slurm's notation: `MM`, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`, in quotes |
| IPv4 subnet | `192.168.100.0/24`, in quotes |
| range of IPv4 addresses | `192.168.100.11-14`, `10.0.0.11-10.0.1.250` or a single address, in quotes |
| cron schedule | five fields, in quotes: `0 3 * * *` |"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """MkDocs calls this when it has listed the pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Every generated page, by its path under ``docs/``."""
    return {
        "reference/commands.md": commands(),
        "reference/cluster-yaml.md": cluster_yaml(),
        "reference/recipe-yaml.md": recipe_yaml(),
        "reference/bench-yaml.md": bench_yaml(),
        "reference/inventory-yaml.md": inventory_yaml(),
        "reference/survey.md": survey_page(),
    }


def survey_page() -> str:
    """What a factory offers, with what ``benchmarks/survey.py`` has measured."""
    folder = Path(__file__).parents[1] / "benchmarks" / "results"
    return survey.page(
        {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    )


# --- the command line ---------------------------------------------------------------------------------


def commands() -> str:
    """The page: every command with its arguments, in the order of ``--help``."""
    parts = [
        "# Commands",
        "`ai-how COMMAND --help` shows the same. Every command about a site takes `--file` (the site's file) and "
        "`--root` (the site's folder); every command that prints facts takes `--json`.",
    ]
    for group, members in COMMANDS.items():
        parts.append(f"## {group.capitalize()}")
        for name, line in members.items():
            parts.append(f"### ai-how {name} {{#ai-how-{name}}}\n\n{line[0].upper()}{line[1:]}.")
            if importlib.util.find_spec(f"ai_how.cli.{name}"):
                parts.extend(f"```text\n{text}\n```" for text in usage(name))
    return "\n\n".join(parts) + "\n"


def usage(name: str) -> Iterator[str]:
    """What ``--help`` prints, always 100 columns wide: the command's, then that of each of its verbs."""
    module = importlib.import_module(f"ai_how.cli.{name}")
    parser = argparse.ArgumentParser(prog=f"ai-how {name}", description=module.__doc__)
    module.arguments(parser)
    yield _help(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from (_help(verb) for verb in action.choices.values())


def _help(parser: argparse.ArgumentParser) -> str:
    kind = parser.formatter_class
    parser.formatter_class = lambda prog: kind(prog, width=100)  # type: ignore[assignment]
    return parser.format_help().rstrip()


# --- the files ----------------------------------------------------------------------------------------


def cluster_yaml() -> str:
    """The page of ``cluster.yaml``: the template, then every key."""
    return "\n\n".join(
        [
            "# cluster.yaml",
            "One file describes a site. `ai-how init` writes this one; `ai-how validate` checks a file and reports "
            "every mistake in it at once, each with its line and column; `ai-how validate --fix` repairs what has one "
            "right answer; `ai-how explain KEY` says what a key means and what it is in your file.",
            f"```yaml\n{laptop().rstrip()}\n```",
            "Others are written by `ai-how init --template`, and lie in `examples/clusters/`:",
            "\n".join(f"- `{name}`: {purpose}" for name, purpose in PURPOSES.items()),
            "A key that is not listed here is a mistake. Some values have a form of their own:",
            FORMS,
            *tables(SiteSpec),
            "## What is checked across keys",
            "\n".join(f"- {(check.run.__doc__ or '').strip().splitlines()[0]}" for check in CHECKS),
            "## What is checked against this machine",
            "- Nobody else on this machine listens on a port that the file asks for.\n"
            "- More CPUs or memory than the machine has is allowed, with a warning: emulation oversubscribes.\n"
            "- More simulated devices a node than the machine has character devices for is refused.",
        ]
    ) + "\n"  # fmt: skip


def recipe_yaml() -> str:
    """The page of ``recipe.yaml``: an example, then every key."""
    from ai_how.jobs.control import SHIPPED

    example = (SHIPPED / "digits" / "recipe.yaml").read_text().rstrip()
    return "\n\n".join(
        [
            "# recipe.yaml",
            "A recipe says how to run one kind of work. It lies in a folder with its scripts; `ai-how train FOLDER` "
            "copies the folder and submits it. This is the shipped recipe `digits`:",
            f"```yaml\n{example}\n```",
            "`train` runs `script` under `torchrun` on every node, `evaluate` runs it with Python, and `finetune` "
            "runs `prepare` and then Oumi by the `config.yaml` that `prepare` wrote. An argument `epochs: 20` becomes "
            "`--epochs 20`; `true` becomes the bare flag, and `false` leaves it out. What a script finds in its "
            "environment is listed under [environment variables](environment-variables.md#in-a-job).",
            *tables(Recipe),
        ]
    ) + "\n"  # fmt: skip


def bench_yaml() -> str:
    """The page of bench recipes: an example, then every key."""
    example = (Path(__file__).parents[1] / "examples" / "bench" / "chat.yaml").read_text().rstrip()
    return "\n\n".join(
        [
            "# bench.yaml",
            "A bench recipe says what is measured, under which load and how often; `ai-how bench run FILE` carries it "
            "out. This is `examples/bench/chat.yaml`:",
            f"```yaml\n{example}\n```",
            "What the figures mean, and when they are not to be trusted, is told in [measuring]"
            "(../explanation/measuring.md).",
            *tables(BenchRecipe),
        ]
    ) + "\n"  # fmt: skip


def inventory_yaml() -> str:
    """The page of inventories in files: the shortest, then every key."""
    short = (
        'inventory: "1.0"\nmemory_gb: 256\ncpus: {cores: 32, threads: 64, flags: [svm]}\n'
        "gpus:\n  - {model: NVIDIA A100 80GB PCIe, count: 2, mig: true}\n  - {model: NVIDIA RTX 6000 Ada Generation}"
    )
    return "\n\n".join(
        [
            "# inventory.yaml",
            "What a machine has, in a file: `ai-how doctor --save-inventory FILE` records the machine it runs on, and "
            "`ai-how doctor --inventory FILE` judges the one in the file instead ([how](../how-to/"
            "rehearse-another-machine.md)). `examples/inventories/` has a machine without a GPU, a workstation and a "
            "DGX H100. One can be written by hand in a few lines:",
            f"```yaml\n{short}\n```",
            "Whatever is left out, nobody could tell: a check that needs it says so. A GPU with a `model` and no "
            "`uuid` is one written by hand; its memory and its MIG profiles come from the catalogue, and `count` "
            "multiplies it.",
            *tables(InventoryFile),
        ]
    ) + "\n"  # fmt: skip


def tables(model: type[BaseModel]) -> Iterator[str]:
    """One heading and one table for each mapping in the file, the outermost first."""
    known = keys_of(schema_of(model))
    yield "## Top level"
    yield _table([key for path, key in known.items() if len(path) == 1])
    for key in known.values():
        if key.children and not _told_above(key):
            each = "each entry of " if key.many else ""
            yield f"## {key.path[-1]} {{#{_anchor(key)}}}\n\n{key.meaning}\n\nThe keys of {each}`{key.dotted}`:"
            yield _table([known[*key.path, child] for child in key.children])


def _table(rows: list[Key]) -> str:
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(key) for key in rows)])


def _row(key: Key) -> str:
    return f"| `{key.path[-1]}` | {_kind(key)} | {_default(key)} | {key.meaning} |"


def _kind(key: Key) -> str:
    if key.children:
        return f"[{key.kind}](#{_anchor(key)})"
    if key.allowed:
        return ("list of " if key.many else "") + ", ".join(f"`{flow(value)}`" for value in key.allowed)
    return key.kind


def _anchor(key: Key) -> str:
    """Where the table of a mapping stands; the links of mistakes lead here, too."""
    return "-".join(key.path[3:] if _told_above(key) else key.path)


def _told_above(key: Key) -> bool:
    """Whether it is a key of a pair's part, which has those of a recipe of its own."""
    return key.path[:2] == ("workload", "pair") and len(key.path) > 3


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.default in (None, "", [], {}):
        return ""
    if isinstance(key.default, list):
        return ", ".join(f"`{entry['name'] if isinstance(entry, dict) else entry}`" for entry in key.default)
    return f"`{flow(key.default)}`"
