"""Options of batch scripts, which jobs and replicas share. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

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


def meeting(python: str) -> Iterator[str]:
    """Lines that find where the processes of a job meet: ``$master``, the first node's address, and a free ``$port``.

    ``python`` is a command line. The address is Slurm's own word for it: names need not resolve.
    """
    yield 'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    yield 'master=$(scontrol --oneliner show node "$head" | sed "s/.* NodeAddr=\\([^ ]*\\).*/\\1/")'
    free_port = "import socket; s = socket.socket(); s.bind(('', 0)); print(s.getsockname()[1])"
    yield f"port=$({python} -c {shlex.quote(free_port)})"


#: What torchrun on each node is told of them, inside a shell of its own that has them as ``$0`` and ``$1``.
MEETING = '--node-rank="$SLURM_NODEID" --master-addr="$0" --master-port="$1"'
