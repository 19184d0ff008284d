"""torchrun with one difference: when every process left with the requeue exit code, so does torchrun.

torchrun itself ends with 1 and a report of failure whatever its processes ended with.
Run it as `python -m ai_how_job.torchrun`, with torchrun's own arguments.
"""

from __future__ import annotations

import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

from .notice import EXIT_CODE

if __name__ == "__main__":
    try:
        main()
    except ChildFailedError as error:
        if {failure.exitcode for failure in error.failures.values()} == {EXIT_CODE}:
            sys.exit(EXIT_CODE)
        raise
