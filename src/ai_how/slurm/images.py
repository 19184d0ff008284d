"""Apptainer in a batch script. Pure."""

from __future__ import annotations

from collections.abc import Iterator

#: The variable of the script that holds the program's path.
APPTAINER = "AI_HOW_APPTAINER"


def finding_apptainer() -> Iterator[str]:
    """The lines of bash that find Apptainer, or Singularity, which takes the same words where a centre has that."""
    yield f"{APPTAINER}=$(command -v apptainer || command -v singularity) || {{"
    yield '    echo "ai-how: an image is asked for; neither apptainer nor singularity is on PATH of $(uname -n)" >&2'
    yield '    echo "ai-how: install one of them there, or name the module that brings it" >&2'
    yield "    exit 1"
    yield "}"
    yield f"export {APPTAINER}"
