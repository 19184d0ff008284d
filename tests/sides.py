"""Which files of tests share a worker: the same ones every time, by how long they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

#: Seconds that files take whose tests are longer than most, on two cores at rest.
LONG = {
    "tests/unit/test_gpu_agreement.py": 60,
    "tests/unit/test_spec_any_text.py": 40,
    "tests/contract/test_notebooks.py": 30,
    "tests/contract/test_connect.py": 20,
    "tests/contract/test_provider.py": 25,
    "tests/contract/test_engine_runtimes.py": 30,
    "tests/integration/test_jobs_finetuning.py": 60,
    "tests/integration/test_jobs_tracker.py": 70,
    "tests/integration/test_jobs_training.py": 100,
    "tests/integration/test_models_serving.py": 75,
    "tests/integration/test_serving_continuity.py": 110,
    "tests/integration/test_site_existing.py": 95,
    "tests/integration/test_site_failures.py": 180,
    "tests/integration/test_site_faults.py": 420,
    "tests/integration/test_site_gpus.py": 90,
    "tests/integration/test_site_lifecycle.py": 110,
    "tests/integration/test_site_slurm.py": 65,
    "tests/integration/test_whole_demo.py": 80,
    "tests/integration/test_bench_jobs.py": 60,
    "tests/integration/test_runtimes.py": 50,
    "tests/integration/test_site_ordinary_user.py": 20,
}
#: Files that have apt install what they need: one of them after the other.
INSTALLING = {
    "tests/contract/test_connect.py", "tests/contract/test_engine_runtimes.py", "tests/contract/test_gate.py",
    "tests/contract/test_share.py", "tests/contract/test_ssh.py",
    "tests/integration/test_runtimes.py", "tests/integration/test_site_existing.py",
}  # fmt: skip
#: Seconds that another test takes, by its folder.
USUAL = {"unit": 0.02, "golden": 0.02, "contract": 0.5, "integration": 2.0}


def dealt(tests: Iterable[str], count: int) -> dict[str, int]:
    """A side for each file, by the file of each test: the longest first, to the side that has least."""
    heaps: dict[str, float] = {}
    heaped = Counter(tests)
    for file, number in heaped.items():
        seconds = LONG.get(file) or number * USUAL.get(file.split("/")[1], 1.0)
        heaps[heap_of(file)] = heaps.get(heap_of(file), 0.0) + seconds
    loads, sides = [0.0] * count, {}
    for heap in sorted(heaps, key=lambda heap: (-heaps[heap], heap)):
        sides[heap] = loads.index(min(loads))
        loads[sides[heap]] += heaps[heap]
    return {file: sides[heap_of(file)] for file in heaped}


def heap_of(file: str) -> str:
    """What goes to one side as a whole: a file, or all those that install something."""
    return "installing" if file in INSTALLING else file
