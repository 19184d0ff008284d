"""What version a program says it is, asked once and remembered until the file changes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from ai_how.errors import AiHowError
from ai_how.host.model import Program
from ai_how.run import Command, Gate, write_whole

_MARIADB = re.compile(r"(\d+(?:\.\d+)+)-MariaDB")
_VERSION = re.compile(r"(\d+(?:\.\d+)+)")


def parse_version(text: str) -> str | None:
    """The version in what a program printed; None when there is none in it."""
    match = _MARIADB.search(text) or _VERSION.search(text)
    return match.group(1) if match else None


class Versions:
    """Versions by path, kept in ``file`` for as long as the program's own file stays the same."""

    def __init__(self, gate: Gate, file: Path) -> None:
        self._gate = gate
        self._file = file
        self._known: dict[str, list[object]] | None = None

    def of(self, program: Program, path: Path, env: Mapping[str, str]) -> str | None:
        """The version of the program at ``path``; None when it does not say."""
        if program.version_argv is None:
            return None
        try:
            facts = path.stat()
        except OSError:
            return None
        key = [facts.st_mtime_ns, facts.st_size]
        known = self._load().get(str(path))
        if known and known[:2] == key and isinstance(known[2], str):
            return known[2]
        version = self._ask(Command((str(path), *program.version_argv), env=env, timeout=30.0))
        if version is not None:
            self._keep(str(path), [*key, version])
        return version

    def _ask(self, command: Command) -> str | None:
        try:
            done = self._gate.run(command, check=False)
        except (AiHowError, OSError):
            return None  # a program that cannot even print its version: the caller shows that it has none
        return parse_version(done.stdout) or parse_version(done.stderr if done.ok else "")

    def _load(self) -> dict[str, list[object]]:
        if self._known is None:
            try:
                self._known = dict(json.loads(self._file.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                self._known = {}
        return self._known

    def _keep(self, path: str, entry: list[object]) -> None:
        known = self._load()
        known[path] = entry
        if not self._file.parent.is_dir():
            return
        with contextlib.suppress(OSError):  # only a memory: the program is asked again next time
            write_whole(self._file, json.dumps(known))
