"""Files that only their owner may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ai_how.errors import AiHowError, NotFound
from ai_how.run import write_whole


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that no other account ever can read it and no reader ever sees half of it.

    Raises :class:`OSError` when the disk refuses.
    """
    write_whole(path, text, mode=0o600)


def read_private(path: Path) -> str:
    """The text of a file that must be private.

    Raises :class:`NotFound` when it is not there, :class:`AiHowError` when others may read or write it. The
    mode is taken from the open file, so a swap between look and read changes nothing.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise AiHowError(
                    f"{path.name} is open to other accounts (mode {mode:04o})",
                    where=str(path),
                    cause="It holds secrets, and a secret that others may read is none.",
                    todo=f"Replace what is in it, then `chmod 600 {path}`.",
                )
            return file.read()
    except FileNotFoundError as error:
        raise NotFound(f"{path.name} is not there", where=str(path)) from error
