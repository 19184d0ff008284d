"""What a check of a whole file is: what one key cannot know of another. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ai_how.spec.load import Path
from ai_how.spec.model import SiteSpec

#: A contradiction: the path of the value that is told of, what is wrong, what to do.
Found = tuple[Path, str, str | None]


@dataclass(frozen=True)
class Check:
    """A check and what it reads, as dotted paths; it is left out where one of these is wrong in itself.

    ``*`` stands for each entry of a list or of a mapping. Without paths it reads the whole file.
    """

    run: Callable[[SiteSpec], Iterator[Found]]
    reads: tuple[str, ...] = ()

    def __call__(self, spec: SiteSpec) -> Iterator[Found]:
        return self.run(spec)

    def reads_any(self, path: Path) -> bool:
        """Whether it reads what is at ``path``, in it or around it."""
        for text in self.reads or ("",):
            own = text.split(".") if text else []
            if all(part in ("*", other) for part, other in zip(own, path, strict=False)):
                return True
        return False
