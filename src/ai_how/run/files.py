"""Files written whole: a reader sees the old text or the new one, and only who may see it."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int = 0o600, account: str | None = None) -> None:
    """Replace ``path`` by ``text`` so that a crash at any instruction leaves the old file or the new one.

    The folder is made with mode 0700 when it is missing; ``account`` owns the file when that is not ourselves.
    Raises :class:`OSError` when the disk refuses.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # O_EXCL and a random name: nobody can have put a link there before us.
    draft = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # The umask may have taken rights away that `mode` asks for.
        draft.chmod(mode)
        if account is not None:
            shutil.chown(draft, user=account)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
