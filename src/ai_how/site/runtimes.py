"""Whether what a runtime names is there, as far as it can be seen before a job is submitted."""

from __future__ import annotations

import os
from pathlib import Path

from ai_how.errors import NotFound, UsageError
from ai_how.run import Command
from ai_how.site.control import Site

#: What a path has to hold for a recipe.
PYTHON = "bin/python"
_LOOK = 'if [ -x "$1" ]; then echo whole; elif [ -e "$2" ]; then echo lacks; else echo absent; fi'


def refuse_absent_path(site: Site, path: str, where: str) -> None:
    """Refuse an environment's folder that has no Python in it. Raises :class:`UsageError`, :class:`NotFound`."""
    _refuse_part(path, "path", where)
    found = _look(site, Path(path), PYTHON)
    if found == "whole" or (found == "absent" and site.reach):
        return  # of a cluster elsewhere, its nodes may have what its login node has not
    raise NotFound(
        f"the environment {path} has no {PYTHON}" if found == "lacks" else f"there is no environment {path}",
        where=where,
        cause=f"the job's Python would be {path}/{PYTHON}",
        todo="Name the folder that holds bin/, such as that of a virtual environment.",
    )


def refuse_absent_image(site: Site, image: str, where: str) -> None:
    """Refuse an image that is not there; one of a registry (``docker://``) is not looked for.

    Raises :class:`UsageError`, :class:`NotFound`.
    """
    if "://" in image:
        return
    _refuse_part(image, "image", where)
    if _look(site, Path(image), "") == "absent" and not site.reach:
        raise NotFound(
            f"there is no image {image}",
            where=where,
            todo="Name the file, or the folder of an unpacked one, by the path that the nodes see.",
        )


def _refuse_part(path: str, what: str, where: str) -> None:
    if not path.startswith("/"):
        raise UsageError(
            f"the {what} {path} is no absolute path",
            where=where,
            todo="Nodes work elsewhere: write it whole.",
        )


def _look(site: Site, path: Path, part: str) -> str:
    """whole, lacks (it is there without that part of it) or absent."""
    whole = path / part if part else path
    if site.reach:
        wanted = ("sh", "-c", _LOOK, "look", str(whole), str(path))
        return site.reach.gate.run(Command(wanted, timeout=60)).stdout.strip()
    if whole.exists() and (os.access(whole, os.X_OK) or not part):
        return "whole"
    return "lacks" if path.exists() else "absent"
