"""The shared folder of a cluster behind SSH. The far side needs a POSIX shell and the core utilities, nothing else."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO

from ai_how.errors import AiHowError, CommandFailed, NotFound, UsageError
from ai_how.run.files import drafted
from ai_how.run.model import Command
from ai_how.run.ssh import SshGate, pieces_of

#: What a pattern may hold: it is the far side's shell that matches it.
_PATTERN = re.compile(r"[\w.*?\[\]!-]+")
#: Seconds that a call may take, and bytes a second that a copy is given at the least.
_SECONDS, _PACE = 60.0, 500_000
#: Seconds that bringing a folder here may take: nobody knows beforehand how large it is.
_FETCH_SECONDS = 3600.0

#: Reads lines `SIZE MODE PATH`, each followed by so many bytes. `read` takes no more than its line from a pipe, and
#: `head -c` no more than it was told.
_WRITE = r"""
umask 077
while read -r size mode path; do
    name=${path##*/}
    folder=${path%/*}
    draft=$folder/.$name.$$.part
    mkdir -p "${folder:-/}" && head -c "$size" >"$draft" && [ "$(wc -c <"$draft")" -eq "$size" ] &&
        chmod "$mode" "$draft" && mv -f "$draft" "$path" || { rm -f "$draft"; exit 1; }
done
"""
_READ = r"""
[ -e "$1" ] || exit 44
exec cat "$1"
"""
#: $1 the folder, $2 the pattern, $3 a word that is in no file. A file that goes meanwhile is said to be gone.
_READ_ALL = r"""
[ -d "$1" ] || exit 0
cd "$1" || exit
for name in $2; do
    [ -f "$name" ] || continue
    printf '%s %s\n' "$3" "$name"
    cat "./$name" 2>/dev/null && printf '\n%s kept\n' "$3" || printf '\n%s gone\n' "$3"
done
"""
_TAIL = r"""
[ -e "$1" ] || exit 0
exec tail -n "$2" "$1"
"""
#: $1 the file, $2 the first byte that is wanted, counted from 1.
_READ_ON = r"""
[ -e "$1" ] || exit 0
exec tail -c "+$2" "$1"
"""
#: $1 a file or a folder. Says `SIZE PATH` before each file's bytes; PATH is relative, and empty of a single file.
_FETCH = r"""
send() { [ -f "$1" ] && size=$(wc -c <"$1") && printf '%d %s\n' "$size" "$2" && head -c "$size" "$1"; }
walk() {
    for entry in "$1"/* "$1"/.[!.]*; do
        if [ -d "$entry" ] && [ ! -h "$entry" ]; then walk "$entry"; else send "$entry" "${entry#"$root"/}"; fi
    done
}
root=$1
[ -e "$root" ] || exit 44
if [ -d "$root" ]; then walk "$root"; exit 0; fi
send "$root" ""
"""
_REMOVE = r"""
for path; do
    rm -rf "$path"
done
"""


class SshShare:
    """A folder of a machine behind SSH; satisfies :class:`ai_how.run.Share`. Each call is one round trip."""

    def __init__(self, gate: SshGate) -> None:
        self._gate = gate

    def write(self, files: Mapping[Path, str], *, mode: int = 0o600) -> None:
        texts = {path: text.encode() for path, text in files.items()}
        self._send(texts, [_head(path, len(text), mode) + text for path, text in texts.items()], _SECONDS)

    def put(self, files: Mapping[Path, Path], *, mode: int = 0o600) -> None:
        try:
            sizes = {target: source.stat().st_size for target, source in files.items()}
        except OSError as error:
            raise AiHowError(f"a file cannot be read: {error.strerror}", where=str(error.filename)) from error
        pieces = (
            chain([_head(target, sizes[target], mode)], pieces_of(source)) for target, source in files.items()
        )
        self._send(files, chain.from_iterable(pieces), _SECONDS + sum(sizes.values()) / _PACE)

    def _send(self, files: Iterable[Path], pieces: Iterable[bytes], seconds: float) -> None:
        names = list(files)
        if not names:
            return
        command = Command(("sh", "-c", _WRITE, "write"), timeout=seconds)
        done = self._gate.feed(command, pieces, check=False)
        if not done.ok:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise self._failed(f"{names[0].name}{more} cannot be written", names[0], done.tail())

    def read(self, path: Path) -> str:
        done = self._gate.run(_call(_READ, str(path)), check=False)
        if done.returncode == 44:
            raise NotFound(f"{path.name} is not there", where=f"{self._gate.host}:{path}")
        if not done.ok:
            raise self._failed(f"{path.name} cannot be read", path, done.tail())
        return done.stdout

    def read_all(self, folder: Path, pattern: str) -> Mapping[str, str]:
        if not _PATTERN.fullmatch(pattern):
            raise UsageError(f"{pattern!r} is no pattern of file names")
        word = secrets.token_hex(16)
        try:
            said = self._gate.run(_call(_READ_ALL, str(folder), pattern, word)).stdout
        except CommandFailed as error:
            raise self._failed(f"{folder.name} cannot be read", folder, error.detail) from error
        return dict(_apart(said, word))

    def tail(self, path: Path, lines: int) -> str:
        done = self._gate.run(_call(_TAIL, str(path), str(lines)), check=False)
        if not done.ok:
            raise self._failed(f"{path.name} cannot be read", path, done.tail())
        return done.stdout.removesuffix("\n")

    def read_on(self, path: Path, position: int) -> bytes:
        with tempfile.TemporaryFile() as sink:
            done = self._gate.feed(_call(_READ_ON, str(path), str(position + 1)), [], check=False, sink=sink)
            if not done.ok:
                raise self._failed(f"{path.name} cannot be read", path, done.tail())
            sink.seek(0)
            return sink.read()

    def fetch(self, source: Path, target: Path) -> None:
        with tempfile.TemporaryFile() as sink:
            command = replace(_call(_FETCH, str(source)), timeout=_FETCH_SECONDS)
            done = self._gate.feed(command, [], check=False, sink=sink)
            if done.returncode == 44:
                raise NotFound(f"{source.name} is not there", where=f"{self._gate.host}:{source}")
            if not done.ok:
                raise self._failed(f"{source.name} cannot be read", source, done.tail())
            sink.seek(0)
            while head := sink.readline():
                size, _, name = head.decode(errors="surrogateescape").rstrip("\n").partition(" ")
                _keep(sink, int(size), _inside(target, name))

    def remove(self, *paths: Path) -> None:
        if paths:
            self._gate.run(_call(_REMOVE, *map(str, paths)))

    def _failed(self, what: str, path: Path, detail: str | None) -> AiHowError:
        return AiHowError(what, where=f"{self._gate.host}:{path}", detail=detail or None)


def _call(script: str, *words: str) -> Command:
    return Command(("sh", "-c", script, "share", *words), timeout=_SECONDS)


def _head(path: Path, size: int, mode: int) -> bytes:
    """The line in front of a file's bytes. A path with a newline would be two lines."""
    if "\n" in str(path) or str(path) != str(path).strip():
        raise UsageError(f"a path cannot have blanks around it or lines in it: {str(path)!r}")
    return f"{size} {mode:o} {path}\n".encode()


def _inside(target: Path, name: str) -> Path:
    """Where a file that the far side names goes: never outside of ``target``."""
    if not name:
        return target
    if name.startswith("/") or ".." in Path(name).parts:
        raise AiHowError(f"the far side names a file outside of the folder that was asked for: {name!r}")
    return target / name


def _keep(source: IO[bytes], size: int, path: Path) -> None:
    with drafted(path) as file:
        while size:
            piece = source.read(min(size, 1 << 20))
            if not piece:
                raise AiHowError(f"{path.name} came in part only", where=str(path))
            file.write(piece)
            size -= len(piece)


def _apart(said: str, word: str) -> Iterator[tuple[str, str]]:
    """The files in one answer, by name."""
    for part in said.split(f"{word} ")[1:]:
        head, _, text = part.partition("\n")
        if head in ("kept", "gone"):
            continue
        yield head, text.removesuffix("\n")
