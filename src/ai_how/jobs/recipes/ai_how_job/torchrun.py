"""torchrun with two differences: when every process left with the requeue exit code, so does torchrun; and when
processes failed it says so in a line each, so that their own last words are the log's last lines.

torchrun itself ends with 1 and a long report of failure whatever its processes ended with.
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
        for failure in error.failures.values():
            print(
                f"process {failure.local_rank} of this node ended with exit code {failure.exitcode}",
                file=sys.stderr,
            )
        sys.exit(1)
