"""Looks at a model's file, as far as an engine needs it to say whether it can serve it."""

from __future__ import annotations

from pathlib import Path

from ai_how.errors import NotFound

_MOST = 1_000_000


def read_head(path: Path) -> bytes:
    """The first bytes of a model's file; of a Hugging Face folder its ``config.json``. Raises :class:`NotFound`."""
    file = path / "config.json" if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST if file is not path else 4096)
    except OSError as error:
        raise NotFound(f"the model's file cannot be read: {error.strerror}", where=str(file)) from error
