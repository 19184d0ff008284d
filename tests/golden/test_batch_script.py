"""The batch script of a recipe, compared whole, and read by bash."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ai_how.errors import AiHowError
from ai_how.jobs.model import JobFolder, Submission
from ai_how.jobs.render import batch_script
from ai_how.spec.recipe import Recipe, Resources, Runtime

GOLDEN = Path(__file__).parent / "batch"
TORCH = "/home/ada/.local/share/ai-how/envs/torch-0123/bin/python"
OUMI = "/home/ada/.local/share/ai-how/envs/oumi-4567/bin/python"


def submission(recipe: Recipe, python: str, site: str = "/srv/site") -> Submission:
    return Submission(
        recipe=recipe,
        folder=JobFolder(Path(site) / f"share/jobs/{recipe.name}-abababab"),
        log=Path(site) / f"log/jobs/{recipe.name}-%j.log",
        python=python,
        tracking_uri="http://127.0.0.1:5000",
        run_id="0af1",
        arguments=recipe.arguments,
    )


CASES = {
    "train-venv": submission(
        Recipe(
            version="1.0",
            kind="train",
            name="digits",
            script="train.py",
            arguments={"epochs": 20, "learning-rate": 0.1, "amp": True, "quiet": False},
            environment=Runtime(venv="torch"),
            resources=Resources(nodes=2, tasks_per_node=2, memory="2G", time_limit="00:10:00"),
        ),
        TORCH,
    ),
    "train-image-with-gpus": submission(
        Recipe(
            version="1.0",
            kind="train",
            name="digits",
            script="train.py",
            arguments={"note": "it's a test"},
            environment=Runtime(image="/images/torch 2.sif"),
            resources=Resources(
                nodes=2, tasks_per_node=4, cpus_per_task=8, gpus_per_node=4, gpu="a100", partition="gpu"
            ),
            notice=300,
        ),
        "python3",
    ),
    "train-modules-and-path": submission(
        Recipe(
            version="1.0",
            kind="train",
            name="digits",
            script="train.py",
            environment=Runtime(modules=("cuda/12.6", "nccl"), path="/software/torch env"),
            resources=Resources(time_limit="2-00:00:00"),
        ),
        "/software/torch env/bin/python",
        site="/srv/ada's site",
    ),
    "finetune": submission(
        Recipe(
            version="1.0",
            kind="finetune",
            name="site-facts",
            prepare="prepare.py",
            arguments={"epochs": 8},
            environment=Runtime(venv="oumi"),
            resources=Resources(cpus_per_task=2, memory="4G", time_limit="00:20:00"),
        ),
        OUMI,
    ),
    "evaluate": submission(
        Recipe(
            version="1.0",
            kind="evaluate",
            name="exact-match",
            script="evaluate.py",
            arguments={"model": "/srv/site/share/models/site-facts-1/files"},
            environment=Runtime(venv="oumi"),
            resources=Resources(cpus_per_task=2, memory="4G", time_limit="00:10:00"),
        ),
        OUMI,
    ),
    "train-elsewhere": replace(
        submission(
            Recipe(
                version="1.0",
                kind="train",
                name="digits",
                script="train.py",
                environment=Runtime(image="/project/p1/torch.sif"),
                resources=Resources(gpus_per_node=1, gpu="a100"),
            ),
            "python3",
            site="/project/p1/ai-how",
        ),
        tracking_uri="file:///project/p1/ai-how/jobs/digits-abababab/tracking",
        binds=("/project/p1/data:/data:ro",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_script(case: str) -> None:
    assert batch_script(CASES[case]) == (GOLDEN / f"{case}.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_bash_can_read_it(case: str) -> None:
    read = subprocess.run(
        ["bash", "-n"], input=batch_script(CASES[case]), text=True, capture_output=True, check=False
    )
    assert (read.returncode, read.stderr) == (0, "")


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("partition", ["cpu\n#SBATCH --uid=0", 'cpu"', ""])
def test_no_value_becomes_a_second_option(partition: str) -> None:
    case = CASES["train-venv"]
    resources = case.recipe.resources.model_copy(update={"partition": partition})
    recipe = case.recipe.model_copy(update={"resources": resources})
    with pytest.raises(AiHowError, match="partition"):
        batch_script(replace(case, recipe=recipe))
