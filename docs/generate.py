"""Writes the reference of the command line and of the files from the code itself, each time the docs are built."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from ai_how.cli import COMMANDS
from ai_how.host.recorded import InventoryFile
from ai_how.spec.checks import CHECKS
from ai_how.spec.model import SiteSpec
from ai_how.spec.recipe import Recipe
from ai_how.spec.template import laptop

KINDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}


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
        "reference/inventory-yaml.md": inventory_yaml(),
    }


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
            "every mistake in it at once, each with its line and column.",
            f"```yaml\n{laptop().rstrip()}\n```",
            "A key that is not listed here is a mistake. A name begins with a lower-case letter and goes on with "
            "letters, digits and `-`, 31 characters at most. A time limit is in Slurm's notation (`MM`, `MM:SS`, "
            "`HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`), in quotes.",
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
    schema = model.model_json_schema()
    yield from _tables(schema, schema, "")


def _tables(schema: dict[str, Any], part: dict[str, Any], path: str) -> Iterator[str]:
    if path:
        key = path.rstrip("[]")
        each = "each entry of " if path.endswith("[]") else ""
        yield f"## {key.rsplit('.', 1)[-1]} {{#{_anchor(path)}}}\n\nThe keys of {each}`{key}`:"
    else:
        yield "## Top level"
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in part["properties"].items():
        kind = _kind(schema, field, f"{path}.{key}".lstrip("."))
        rows.append(f"| `{key}` | {kind} | {_default(key, field, part)} | {field.get('description', '')} |")
    yield "\n".join(rows)
    for key, field in part["properties"].items():
        inner, suffix = _mapping(schema, field)
        if inner is not None:
            yield from _tables(schema, inner, f"{path}.{key}{suffix}".lstrip("."))


def _mapping(schema: dict[str, Any], field: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The mapping that a key holds, or that each entry of its list is; ``suffix`` tells a list."""
    for choice in _choices(field):
        if "items" in choice:
            return _mapping(schema, choice["items"])[0], "[]"
        if "$ref" in choice:
            return schema["$defs"][choice["$ref"].rsplit("/", 1)[1]], ""
    return None, ""


def _kind(schema: dict[str, Any], field: dict[str, Any], path: str) -> str:
    kinds = []
    for choice in _choices(field):
        inner, suffix = _mapping(schema, choice)
        if inner is not None:
            kinds.append(f"[{'list of mappings' if suffix else 'mapping'}](#{_anchor(path)})")
        elif choice.get("type") != "null":
            kinds.append(_plain_kind(choice))
    return " or ".join(dict.fromkeys(kinds))


def _choices(field: dict[str, Any]) -> list[dict[str, Any]]:
    """The shapes that a value may have; most have one."""
    found: list[dict[str, Any]] = field.get("anyOf", field.get("oneOf", [field]))
    return found


def _anchor(path: str) -> str:
    return path.replace("[]", "").replace(".", "-")


def _plain_kind(field: dict[str, Any]) -> str:
    if "const" in field:
        return f'`"{field["const"]}"`'
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_plain_kind(field['items'])}"
    if field.get("type") == "object":
        return "mapping of names to values"
    text = KINDS[field["type"]]
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None:
        text += f", {low} to {high}" if high is not None else f", {low} or more"
    return text


def _default(key: str, field: dict[str, Any], part: dict[str, Any]) -> str:
    if key in part.get("required", ()):
        return "required"
    value = field.get("default")
    if value in (None, "", [], {}) or "default" not in field:
        return ""
    if isinstance(value, list):
        return ", ".join(f"`{entry['name'] if isinstance(entry, dict) else entry}`" for entry in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
