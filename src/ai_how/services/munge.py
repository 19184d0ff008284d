"""munged vouches to Slurm's daemons for who sends a message."""

from __future__ import annotations

from pathlib import Path

from ai_how.run import Command
from ai_how.services.layout import Layout
from ai_how.services.model import Initialisation, Service, Setting, SocketProbe, aside


def socket(layout: Layout) -> Path:
    """Where munged listens."""
    return layout.run / "munge" / "munge.socket"


def define(setting: Setting) -> Service:
    layout = setting.layout
    run = socket(layout).parent
    key = layout.secrets / "munge.key"
    env = setting.program_env("munged")
    return Service(
        name="munged",
        purpose="vouches to Slurm for who sends a message",
        argv=(
            setting.program("munged"),
            "--foreground",
            # It wants every folder above its socket open to everybody; the site's folder is for its owner alone.
            "--force",
            f"--key-file={key}",
            f"--socket={socket(layout)}",
            f"--pid-file={run / 'munged.pid'}",
            f"--log-file={layout.log / 'munged.log'}",
            f"--seed-file={run / 'munged.seed'}",
            "--num-threads=10",
        ),
        env=env,
        folders=(run,),
        initialisation=Initialisation(
            key,
            (Command((setting.program("mungekey"), "--create", f"--keyfile={aside(key)}"), env=env),),
        ),
        probe=SocketProbe(socket(layout)),
    )
