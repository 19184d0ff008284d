"""The versions of ``cluster.yaml``. Pure.

``1.0`` is what :mod:`ai_how.spec.model` describes. ``0.9`` was the first draft: flat at the top and with shorter words;
:mod:`ai_how.spec.migrate` knows its shape.
"""

from __future__ import annotations

CURRENT = "1.0"
#: From the oldest on; each is carried over to the next.
OLDER = ("0.9",)


def is_newer(version: str) -> bool:
    """Whether a version, as the file writes it, is later than the current one."""
    parts = version.split(".")
    return (
        len(parts) == 2
        and all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts)
        and [int(part) for part in parts] > [int(part) for part in CURRENT.split(".")]
    )
