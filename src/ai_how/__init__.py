"""AI-HOW: one file, one command, a working AI factory on any Linux machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ai_how.site.connect import connect as connect
    from ai_how.site.connect import connect_async as connect_async

__version__ = "0.1.0"
__all__ = ["__version__", "connect", "connect_async"]


def __getattr__(name: str) -> Any:
    # Late, so that `import ai_how` stays light: a job, a notebook and `--help` pay for nothing that they do not use.
    if name in ("connect", "connect_async"):
        from ai_how.site import connect as room

        return getattr(room, name)
    raise AttributeError(f"module 'ai_how' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
