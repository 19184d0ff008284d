"""A cluster that exists, as far as it is ours: the one folder there, and the settings by which daemons reach it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ai_how.run import Command
from ai_how.services.layout import Layout
from ai_how.services.model import CommandProbe, File, Service, Setting
from ai_how.spec.provider import Existing

NAME = "cluster"
HERE = "localhost"


@dataclass(frozen=True)
class Settings:
    """Whose cluster it is, for a daemon that does not read the site's file."""

    site: str
    existing: Existing


def settings_file(layout: Layout) -> Path:
    return layout.etc / "cluster.json"


def read_settings(layout: Layout) -> Settings | None:
    """What :func:`define` has written; None where the site's cluster is its own."""
    try:
        facts = json.loads(settings_file(layout).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Settings(facts["site"], Existing.model_validate_json(json.dumps(facts["existing"]), strict=False))


def settings(setting: Setting) -> File | None:
    """The same, as the file that every daemon reads who has to do with the cluster."""
    existing = setting.spec.clusters.hpc.existing
    if existing is None or setting.spec.clusters.hpc.provider != "existing":
        return None
    facts = {"site": setting.spec.name, "existing": existing.model_dump(mode="json")}
    return File(settings_file(setting.layout), json.dumps(facts, indent=2) + "\n")


def define(setting: Setting) -> Service:
    """Not a process: its existence is a folder there with our mark in it, its health is Slurm's answer."""
    existing = setting.spec.clusters.hpc.existing
    assert existing is not None
    where = "this login node" if existing.host == HERE else existing.host
    folder = existing.folder or f"~/.ai-how/{setting.spec.name}"
    file = settings(setting)
    return Service(
        name=NAME,
        purpose=f"the folder {folder} on {where}, which the cluster's nodes see",
        argv=("existing", existing.host, existing.user or "", folder),
        files=(file,) if file else (),
        probe=CommandProbe(Command(("sinfo", "--version"))),
    )
