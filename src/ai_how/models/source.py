"""What somebody calls a model, and what it means: a registered one, a path, a hub's, one of Ollama's library. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import UsageError

_HUB = re.compile(
    r"(?P<repo>(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[\w./-]+\.gguf))?"
)
_LIBRARY = re.compile(
    r"(?:(?P<space>[A-Za-z0-9][\w.-]*)/)?(?P<name>[A-Za-z0-9][\w.-]*)(?::(?P<tag>[A-Za-z0-9][\w.-]*))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Registered:
    """``NAME``, ``NAME:VERSION`` or ``NAME@ALIAS`` of the site's registry."""

    reference: str


@dataclass(frozen=True)
class AtPath:
    """A GGUF file, or a Hugging Face folder."""

    path: Path


@dataclass(frozen=True)
class OnHub:
    """A repository of the Hugging Face hub at a revision (a branch, a tag or a commit); ``file`` is one GGUF of it."""

    repo: str
    revision: str = "main"
    file: str | None = None

    @property
    def name(self) -> str:
        """What it is served as, unless somebody says otherwise."""
        return Path(self.file).stem if self.file else self.repo.rpartition("/")[2]

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return bool(_COMMIT.fullmatch(self.revision))

    @property
    def folder(self) -> str:
        """The name of its folder in a store."""
        return self.repo.replace("/", "--")


@dataclass(frozen=True)
class InLibrary:
    """A model of Ollama's library."""

    space: str
    name: str
    tag: str

    @property
    def served(self) -> str:
        """What it is served as, unless somebody says otherwise: as Ollama calls it."""
        space = "" if self.space == "library" else f"{self.space}/"
        return f"{space}{self.name}:{self.tag}"


Source = Registered | AtPath | OnHub | InLibrary


def parse_source(text: str, *, is_there: bool = False) -> Source:
    """What ``text`` means: ``hf:ORG/NAME[@REVISION][:FILE.gguf]``, ``ollama:NAME[:TAG]``, a path, or a registered one.

    ``is_there`` says that there is a file or folder of that name: then a bare name is a path, too. A path has a slash
    in it, or ends in ``.gguf``. Raises :class:`UsageError`.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "hf":
        found = _HUB.fullmatch(rest)
        if found is None or ".." in rest:
            raise UsageError(
                f"{text!r} names no repository of the hub", todo="Write hf:ORG/NAME or hf:ORG/NAME@REVISION."
            )
        return OnHub(found["repo"], found["revision"] or "main", found["file"])
    if colon and kind == "ollama":
        found = _LIBRARY.fullmatch(rest)
        if found is None or ".." in rest:
            raise UsageError(
                f"{text!r} names no model of Ollama's library", todo="Write ollama:NAME or ollama:NAME:TAG."
            )
        return InLibrary(found["space"] or "library", found["name"], found["tag"] or "latest")
    if (is_there and text.strip()) or "/" in text or text.startswith("~") or text.endswith(".gguf"):
        return AtPath(Path(text).expanduser())
    if not text.strip():
        raise UsageError("no model is named", todo="Name one: `ai-how serve --help` says what can be served.")
    return Registered(text)
