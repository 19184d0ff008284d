"""Writes the reference of the command line from the command line itself, each time the docs are built."""

from __future__ import annotations

import argparse
import importlib
import importlib.util

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ai_how.cli import COMMANDS


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """MkDocs calls this when it has listed the pages."""
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    return files


def commands() -> str:
    """The page: every command with its arguments, in the order of ``--help``."""
    parts = ["# Commands", "`ai-how COMMAND --help` shows the same."]
    for group, members in COMMANDS.items():
        parts.append(f"## {group.capitalize()}")
        for name, line in members.items():
            parts.append(f"### ai-how {name} {{#ai-how-{name}}}\n\n{line.capitalize()}.")
            if importlib.util.find_spec(f"ai_how.cli.{name}"):
                parts.append(f"```text\n{usage(name)}\n```")
    return "\n\n".join(parts) + "\n"


def usage(name: str) -> str:
    """What ``--help`` prints, always 100 columns wide."""
    module = importlib.import_module(f"ai_how.cli.{name}")
    parser = argparse.ArgumentParser(
        prog=f"ai-how {name}", formatter_class=lambda prog: argparse.HelpFormatter(prog, width=100)
    )
    module.arguments(parser)
    return parser.format_help().rstrip()
