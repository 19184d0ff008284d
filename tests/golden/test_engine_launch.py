"""How each engine is started, by runtime: the launch files, compared whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.serving.engines import Place, ServeRequest, find_engine, place_of
from ai_how.serving.replicas import render
from ai_how.spec.runtime import ServingRuntime, parse_runtime

GOLDEN = Path(__file__).parent / "launch"
MODELS = {
    "llama.cpp": Path("/srv/site/share/models/tiny.gguf"),
    "ollama": Path("/srv/store/ollama/manifests/registry.ollama.ai/library/llama3.2/1b"),
    "transformers": Path("/srv/site/share/models/tiny-1/files"),
    "vllm": Path("/srv/site/share/models/tiny-1/files"),
}
CASES = {
    "llama.cpp-venv": ("llama.cpp", None, 0),
    "llama.cpp-modules": ("llama.cpp", "modules:cuda/12.4,llama.cpp", 1),
    "ollama-path": ("ollama", "path:/opt/ollama", 1),
    "ollama-apptainer": ("ollama", "image:/images/ollama.sif", 1),
    "transformers-venv": ("transformers", None, 0),
    "transformers-podman": ("transformers", "podman:example.org/transformers:5", 1),
    "vllm-path": ("vllm", "path:/opt/vllm", 4),
    "vllm-apptainer": ("vllm", "image:/images/vllm.sif;modules:apptainer", 2),
    "vllm-podman": ("vllm", "podman:example.org/vllm:0.11", 1),
}


def place(engine: str, runtime: str | None) -> Place:
    wanted: ServingRuntime | None = parse_runtime(runtime) if runtime else None
    return place_of(wanted, find_engine(engine).runtime, lambda name: Path("/data/envs") / f"{name}-0123")


@pytest.mark.parametrize("case", CASES)
def test_the_launch_file(case: str) -> None:
    name, runtime, devices = CASES[case]
    engine = find_engine(name)
    request = ServeRequest("tiny", MODELS[name], 4096, 8, 4, 999 if devices else 0, devices)
    text = render.launch_file(
        launch=engine.launch(request, place(name, runtime)),
        model="tiny",
        engine=name,
        nonce="0123456789abcdef01234567",
        endpoints=Path("/srv/site/share/endpoints"),
        engine_log="/srv/site/log/jobs/serve-tiny-{job_id}.engine.log",
        listen="node",
    )
    assert text == (GOLDEN / f"{case}.json").read_text(encoding="utf-8")


def test_a_path_that_is_not_whole_is_refused() -> None:
    for wrong in ("path:opt/vllm", "image:vllm.sif"):
        with pytest.raises(Exception, match="no absolute path"):
            place("vllm", wrong)
