"""The batch script of a replica, compared whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.errors import AiHowError
from ai_how.serving.engines import Place
from ai_how.serving.replicas import ReplicaResources
from ai_how.serving.replicas.render import batch_script, job_name

GOLDEN = Path(__file__).parent / "serve"
PLACE = Place.of_environment(Path("/home/ada/.local/share/ai-how/envs/llama-cpp-0123"))

IMAGE = Place("python3", "apptainer", "/images/llama.cpp.sif", ("cuda/12.4", "apptainer"))

CASES = {
    "plain": (PLACE, Path("/srv/site"), "tiny", ReplicaResources(memory="1G")),
    "modules-and-image": (IMAGE, Path("/srv/site"), "tiny", ReplicaResources(memory="1G")),
    "everything": (
        PLACE,
        Path("/srv/ada's site"),
        "HuggingFaceTB/SmolLM:135M",
        ReplicaResources(
            cpus=4,
            memory="8G",
            time_limit="1-00:00:00",
            gres="gpu:a100:1",
            partition="gpu",
            account="lab",
            qos="high",
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_script(case: str) -> None:
    place, site, model, resources = CASES[case]
    name = job_name(model)
    script = batch_script(
        name=name,
        folder=site / "share/replicas/abababab",
        log=str(site / f"log/jobs/{name}-%j.log"),
        place=place,
        resources=resources,
    )
    assert script == (GOLDEN / f"{case}.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("memory", ["1G\n#SBATCH --uid=0", '1G"', ""])
def test_no_value_becomes_a_second_option(memory: str) -> None:
    with pytest.raises(AiHowError, match="mem"):
        batch_script(
            name="serve-tiny",
            folder=Path("/srv"),
            log="/srv/%j.log",
            place=PLACE,
            resources=ReplicaResources(memory=memory),
        )


def test_modules_are_loaded_before_the_launcher_runs() -> None:
    place = Place("python3", "folder", "/opt/vllm", ("cuda/12.4", "odd name"))
    script = batch_script(
        name="serve-tiny", folder=Path("/srv"), log="/srv/%j.log", place=place, resources=ReplicaResources()
    )
    lines = script.splitlines()
    loads = [line for line in lines if line.startswith("load_module ")]
    assert loads == ["load_module cuda/12.4", "load_module 'odd name'"]
    assert lines.index(loads[-1]) < lines.index("set -eu") < lines.index("umask 077")
    assert lines.index(loads[-1]) < next(at for at, line in enumerate(lines) if "python3 -I /srv/" in line)
