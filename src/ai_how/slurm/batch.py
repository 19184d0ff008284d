"""Options of batch scripts, which jobs and replicas share. Pure."""

from __future__ import annotations

import re

from ai_how.errors import AiHowError


def sbatch_option(key: str, value: str) -> str:
    """``#SBATCH --key=value``, in quotes where sbatch needs them.

    Raises :class:`AiHowError` when the value cannot stand in a batch script.
    """
    if any(letter in value for letter in '\n\r"\\') or not value:
        raise AiHowError(
            f"{value!r} cannot be the {key} of a job",
            cause="Quotes, backslashes and line ends have a meaning of their own in a batch script.",
        )
    return f'#SBATCH --{key}="{value}"' if re.search(r"[\s#;'$`]", value) else f"#SBATCH --{key}={value}"
