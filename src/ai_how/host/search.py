"""Looking for a program: on PATH and in the usual folders, then among what was unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ai_how.host.model import Program

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_UNPACKED_FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin")
_LIBRARIES = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/*-linux-gnu*/slurm-wlm", "usr/lib", "lib")


def on_path(program: Program, environ: Mapping[str, str]) -> Path | None:
    """The program on PATH, in the system's folders (daemons are seldom on a user's PATH) or in its own folders."""
    folders: list[Path] = [Path(text) for text in environ.get("PATH", "").split(":") if text]
    folders += [Path(text) for text in SYSTEM_FOLDERS]
    for pattern in program.folders:
        folders += newest_first(Path("/").glob(pattern.lstrip("/")))
    return _first(program, folders)


def unpacked(program: Program, prefix: Path) -> Path | None:
    """The program among the packages unpacked at ``prefix``."""
    # Its own folders first: Debian's /usr/bin/psql is a script that needs what is not unpacked.
    folders: list[Path] = []
    for pattern in program.folders:
        folders += newest_first(prefix.glob(pattern.lstrip("/")))
    folders += [prefix / text for text in _UNPACKED_FOLDERS]
    return _first(program, folders)


def library_path(prefix: Path, environ: Mapping[str, str]) -> str:
    """LD_LIBRARY_PATH for programs unpacked at ``prefix``, in front of what ``environ`` already has."""
    folders = [
        str(folder)
        for pattern in _LIBRARIES
        for folder in sorted(prefix.glob(pattern))
        if any(folder.glob("*.so*"))
    ]
    inherited = [text for text in environ.get("LD_LIBRARY_PATH", "").split(":") if text]
    return ":".join(dict.fromkeys(folders + inherited))


def own_libraries(environment: Path) -> str:
    """LD_LIBRARY_PATH for the Python of AI-HOW's own environment, as the launcher noted it; mostly none.

    Where that Python was unpacked it does not start without, and what begins with a clean environment has lost it.
    """
    stamp = environment / ".ai-how"
    lines = stamp.read_text().splitlines() if stamp.is_file() else []
    return lines[1] if len(lines) > 1 else ""


def newest_first(folders: Iterable[Path]) -> list[Path]:
    """Folders that differ in a version, ``/usr/lib/postgresql/15/bin``, the highest first."""

    def numbers(path: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in path.parts if part.isdigit())

    return sorted(folders, key=numbers, reverse=True)


def _first(program: Program, folders: Sequence[Path]) -> Path | None:
    for name in (program.name, *program.also_named):
        for folder in folders:
            path = folder / name
            # First whether it may be used at all: a folder of PATH may be closed to whoever runs this.
            if os.access(path, os.R_OK if program.library else os.X_OK) and path.is_file():
                return path
    return None
