"""From a Hugging Face folder to GGUF, the format of llama.cpp."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Literal, get_args

from ai_how.errors import AiHowError, CommandFailed, NotFound
from ai_how.run import Command, Gate

Precision = Literal["f32", "f16", "bf16", "q8_0"]
"""How a weight is stored: 32, 16, 16 or 8 bits."""

_SCRIPT = Path(__file__).with_name("hf_to_gguf.py")
_NEEDED = ("config.json", "tokenizer.json")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def conversion(python: Path, folder: Path, target: Path, precision: Precision, name: str) -> Command:
    """The command that converts. `python` is that of the `oumi` runtime environment. Pure."""
    asked = ("--outfile", str(target), "--outtype", precision, "--model-name", name)
    return Command((str(python), str(_SCRIPT), *asked, str(folder)), env=_OFFLINE, timeout=3600.0)


def convert(
    gate: Gate,
    python: Path,
    folder: Path,
    target: Path,
    *,
    precision: Precision = "f16",
    name: str | None = None,
) -> Path:
    """Convert a Hugging Face folder to one GGUF file and return its path; it appears whole or not at all.

    Raises :class:`NotFound` when the folder is none, and :class:`AiHowError` with the converter's words otherwise.
    """
    missing = [file for file in _NEEDED if not (folder / file).is_file()]
    if missing:
        raise NotFound(
            f"{folder} is no Hugging Face folder: it lacks {' and '.join(missing)}",
            todo="Give the folder that holds the model's config.json, tokenizer and weights.",
        )
    if precision not in get_args(Precision):
        raise AiHowError(
            f"there is no precision {precision!r}", todo=f"There are: {', '.join(get_args(Precision))}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two who want the same model at once must not write into one file.
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part")
    try:
        gate.run(conversion(python, folder, draft, precision, name or folder.name))
        os.replace(draft, target)
    except CommandFailed as error:
        raise AiHowError(
            f"{folder.name} could not be converted to GGUF",
            where=error.where,
            cause="the converter does not know the model's architecture or tokenizer, or the disk is full",
            todo="Read its last lines below.",
            detail=error.detail,
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return target
