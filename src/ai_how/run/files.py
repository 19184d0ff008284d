"""Files written whole: a reader sees the old text or the new one, and only who may see it."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ai_how.errors import AiHowError, NotFound, Problem, SpecError


def write_whole(path: Path, text: str, *, mode: int = 0o600, account: str | None = None) -> None:
    """Replace ``path`` by ``text`` so that a crash at any instruction leaves the old file or the new one.

    The folder is made with mode 0700 when it is missing; ``account`` owns the file when that is not ourselves.
    Raises :class:`OSError` when the disk refuses.
    """
    with drafted(path, mode=mode, account=account) as file:
        file.write(text.encode())


def copy_whole(source: Path, target: Path, *, mode: int = 0o600) -> None:
    """Replace ``target`` by what is in ``source``, in the same way."""
    with source.open("rb") as found, drafted(target, mode=mode) as file:
        shutil.copyfileobj(found, file, 1 << 20)


@contextmanager
def drafted(path: Path, *, mode: int = 0o600, account: str | None = None) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of ``path`` when the block ends well, and is gone otherwise.

    Each has a name of its own: two who write the same file at once do not meet.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # O_EXCL and a random name: nobody can have put a link there before us.
    draft = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
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


#: What to do about a cluster.yaml that is not there.
NO_SITE = "`ai-how init` writes one to start from; `--file` names another."


def read_whole(path: Path, *, todo: str = NO_SITE) -> str:
    """The text of a file of somebody's; ``todo`` says what to do when there is none.

    Raises :class:`NotFound` when there is none, :class:`SpecError` with the place of what is no UTF-8, and what the
    system says otherwise.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no {path.name} here",
            where=str(path.absolute()),
            todo=todo,
        ) from error
    except UnicodeDecodeError as error:
        lines = bytes(error.object[: error.start]).split(b"\n")
        problem = Problem(
            f"no UTF-8 text: the byte 0x{error.object[error.start]:02X} stands for no character",
            str(path),
            len(lines),
            len(lines[-1].decode(errors="replace")) + 1,
            todo="Save the file as UTF-8.",
        )
        raise SpecError([problem]) from None
    except OSError as error:
        why = error.strerror or str(error)
        raise AiHowError(f"{path.name or path} cannot be read: {why}", where=str(path.absolute())) from error


def rewrite_whole(path: Path, text: str) -> None:
    """Replace somebody's file as :func:`write_whole` does; its mode and line ends stay, and a link stays a link."""
    target = path.resolve()
    if b"\r\n" in target.read_bytes():
        text = text.replace("\n", "\r\n")
    write_whole(target, text, mode=stat.S_IMODE(target.stat().st_mode))
