"""A researcher's own script: functions as Slurm jobs, by submitit. It knows nothing of AI-HOW."""

import json
import os
import sys
from pathlib import Path

import submitit


def add(a: int, b: int) -> int:
    return a + b


def where() -> dict:
    job = submitit.JobEnvironment()
    return {"node": os.environ["SLURMD_NODENAME"], "rank": job.global_rank, "tasks": job.num_tasks}


executor = submitit.AutoExecutor(folder=Path(sys.argv[1]) / "%j", cluster="slurm")
executor.update_parameters(timeout_min=3, slurm_partition="gpu", mem_gb=1, cpus_per_task=1)
single = executor.submit(add, 40, 2)
array = executor.map_array(add, [1, 2, 3], [10, 20, 30])
executor.update_parameters(nodes=2, tasks_per_node=1)
wide = executor.submit(where)
print(
    json.dumps({"single": single.result(), "array": [job.result() for job in array], "wide": wide.results()})
)
