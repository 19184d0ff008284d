"""Square some numbers as Slurm jobs with submitit, as on any cluster:

ai-how shell -- python3 examples/submitit/squares.py
"""

import submitit


def square(number: int) -> int:
    return number * number


executor = submitit.AutoExecutor(folder="submitit-logs")
executor.update_parameters(timeout_min=5, mem_gb=1, cpus_per_task=1)
jobs = executor.map_array(square, [1, 2, 3, 4])
print([job.result() for job in jobs])
