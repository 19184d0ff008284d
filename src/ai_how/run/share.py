"""The files of a cluster's shared folder, wherever that is: on this machine, or behind SSH."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ai_how.errors import AiHowError, NotFound
from ai_how.run.files import copy_whole, write_whole


class Share(Protocol):
    """What is done with files that every node sees. Each call is one round trip at most, however many files it
    concerns. Failures are :class:`AiHowError`; :class:`CouldNotTell` when the machine did not answer."""

    def write(self, files: Mapping[Path, str], *, mode: int = 0o600) -> None:
        """Write text files, each whole; folders that are missing are made for their owner alone."""
        ...

    def put(self, files: Mapping[Path, Path], *, mode: int = 0o600) -> None:
        """Copy files of this machine (target to source), each whole; large ones may take their time."""
        ...

    def read(self, path: Path) -> str:
        """A text file. Raises :class:`NotFound`."""
        ...

    def read_all(self, folder: Path, pattern: str) -> Mapping[str, str]:
        """The text files in a folder whose names match (``*.json``), by name; none when there is no folder.

        Names that begin with a dot are drafts and are left out.
        """
        ...

    def tail(self, path: Path, lines: int) -> str:
        """The last lines of a file; empty when there is none."""
        ...

    def read_on(self, path: Path, position: int) -> bytes:
        """What stands in a file after ``position`` bytes; nothing when there is no such file."""
        ...

    def fetch(self, source: Path, target: Path) -> None:
        """Copy a file, or all that is in a folder, to this machine, each file whole. Raises :class:`NotFound`."""
        ...

    def remove(self, *paths: Path) -> None:
        """Remove files and whole folders; what is not there is no fault."""
        ...


class LocalShare:
    """A folder of this machine."""

    def write(self, files: Mapping[Path, str], *, mode: int = 0o600) -> None:
        for path, text in files.items():
            try:
                write_whole(path, text, mode=mode)
            except OSError as error:
                raise _failed("written", path, error) from error

    def put(self, files: Mapping[Path, Path], *, mode: int = 0o600) -> None:
        for target, source in files.items():
            try:
                copy_whole(source, target, mode=mode)
            except OSError as error:
                raise _failed("written", target, error) from error

    def read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError as error:
            raise NotFound(f"{path.name} is not there", where=str(path)) from error
        except OSError as error:
            raise _failed("read", path, error) from error

    def read_all(self, folder: Path, pattern: str) -> Mapping[str, str]:
        found = {}
        for path in folder.glob(pattern):
            if path.name.startswith("."):
                continue
            try:
                found[path.name] = self.read(path)
            except NotFound:
                continue  # withdrawn between the listing and the reading
        return found

    def tail(self, path: Path, lines: int) -> str:
        try:
            text = self.read(path)
        except NotFound:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def read_on(self, path: Path, position: int) -> bytes:
        try:
            with path.open("rb") as file:
                file.seek(position)
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _failed("read", path, error) from error

    def fetch(self, source: Path, target: Path) -> None:
        try:
            if source.is_dir():
                for path in source.rglob("*"):
                    if path.is_file():
                        self.put({target / path.relative_to(source): path})
            else:
                self.put({target: source})
        except AiHowError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise NotFound(f"{source.name} is not there", where=str(source)) from error
            raise

    def remove(self, *paths: Path) -> None:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _failed(what: str, path: Path, error: OSError) -> AiHowError:
    return AiHowError(f"{path.name} cannot be {what}: {error.strerror or error}", where=str(path))
