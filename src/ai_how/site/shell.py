"""A shell that talks to a site: its variables, and Slurm's commands of a cluster that is reached over SSH."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_how.providers.existing import Reach
from ai_how.run import Command
from ai_how.run.files import write_whole
from ai_how.services import gateway, mlflow, slurm
from ai_how.site.control import Site

#: Slurm's commands that somebody who uses a cluster types.
COMMANDS = (
    "salloc", "sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "sprio", "squeue", "sreport", "srun",
    "sshare", "sstat",
)  # fmt: skip


def shell_env(site: Site) -> Mapping[str, str]:
    """What a shell needs so that Slurm's commands, MLflow, OpenAI's and Ollama's clients talk to this site."""
    setting = site.setting()
    folders = [*_of_the_cluster(site), *(str(path.parent) for path in site.program_paths.values())]
    # Where it is the usual folder, another --file may follow in that shell, and has a folder of its own.
    usual = site.layout.root == site.folders.sites / site.file.spec.name
    return {
        **slurm.client_env(setting),
        **(there_env(site.reach) if site.reach and site.reach.local else {}),
        "PATH": os.pathsep.join([*dict.fromkeys(folders), os.environ.get("PATH", "")]),
        **({"MLFLOW_TRACKING_URI": uri} if (uri := mlflow.tracking_uri(setting)) else {}),
        "OPENAI_BASE_URL": f"{gateway.base_url(setting)}/v1",
        "OPENAI_API_KEY": site.gateway_token,
        "OLLAMA_HOST": gateway.base_url(setting),
        "OLLAMA_API_KEY": site.gateway_token,
        **site.trusting,
        "AI_HOW_FILE": str(site.path),
        **({} if usual else {"AI_HOW_ROOT": str(site.layout.root)}),
        "NO_PROXY": "127.0.0.1,localhost,::1",
    }


def there_env(reach: Reach) -> Mapping[str, str]:
    """What Slurm's commands of a cluster that exists need: nothing, unless the file says where its slurm.conf is."""
    conf = reach.existing.slurm_conf
    return {"SLURM_CONF": str(reach.there(conf))} if conf else {}


def on_cluster(reach: Reach, words: Sequence[str]) -> Command:
    """A command as it is run on the cluster's login node; without words, the login shell there."""
    if not words:
        return Command(("sh", "-c", 'exec "${SHELL:-sh}" -l'), env=there_env(reach))
    first, folder = words[0], reach.existing.commands
    program = str(reach.there(folder) / first) if folder and first in COMMANDS else first
    return Command((program, *words[1:]), env=there_env(reach))


def _of_the_cluster(site: Site) -> list[str]:
    """Where Slurm's commands of a cluster that exists are: over SSH, a script for each that calls it there."""
    if site.reach is None:
        return []
    if site.reach.local:
        folder = site.reach.existing.commands
        return [str(site.reach.there(folder))] if folder else []
    place = site.layout.run / "slurm-there"
    place.mkdir(mode=0o700, exist_ok=True)
    for name in COMMANDS:
        write_whole(place / name, script(site.path, site.layout.root, name), mode=0o700)
    return [str(place)]


def script(file: Path, root: Path, name: str) -> str:
    """A program that calls another of that name on the cluster. Pure."""
    words = (
        sys.executable,
        "-I",
        "-m",
        "ai_how",
        "shell",
        "--there",
        "--file",
        str(file),
        "--root",
        str(root),
    )
    return f'#!/bin/sh\n# Made by `ai-how shell`.\nexec {shlex.join((*words, "--", name))} "$@"\n'
