"""torchrun with three differences, all at its end.

When every process left with the requeue exit code, so does torchrun, which otherwise ends with 1 and a report of
failure whatever its processes ended with. When one failed, torchrun says so in a line: its own report and traceback
are longer than the last lines that people are shown of a log, and would hide what the script said. And the last
node to leave says nothing of the others having left before it: torchrun prints a traceback of that into the log of
a job that did well.
Run it as `python -m ai_how_job.torchrun`, with torchrun's own arguments.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

# Read once, when PyTorch is imported; the processes that torchrun starts are to have their own wish.
_wish = os.environ.get("TORCH_CPP_LOG_LEVEL")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from torch.distributed.elastic.agent.server import api  # noqa: E402
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: E402
from torch.distributed.run import main  # noqa: E402

from .notice import EXIT_CODE  # noqa: E402

if _wish is None:
    del os.environ["TORCH_CPP_LOG_LEVEL"]

_wait_for_others = api.SimpleElasticAgent._exit_barrier


def _wait_quietly(agent: Any) -> None:
    """Wait for the other nodes; one that has left already is no error any more."""
    logger = logging.getLogger(api.__name__)
    logger.disabled = True
    try:
        _wait_for_others(agent)
    finally:
        logger.disabled = False


if __name__ == "__main__":
    api.SimpleElasticAgent._exit_barrier = _wait_quietly
    try:
        main()
    except ChildFailedError as error:
        if {failure.exitcode for failure in error.failures.values()} == {EXIT_CODE}:
            sys.exit(EXIT_CODE)
        for rank, failure in sorted(error.failures.items()):
            how = failure.signal_name() if failure.exitcode < 0 else f"exit code {failure.exitcode}"
            print(f"torchrun: the process of rank {rank} failed: {how}", file=sys.stderr)
        sys.exit(1)
