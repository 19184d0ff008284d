"""llama.cpp, by the HTTP server that the Python package xllamacpp carries. Pure."""

from __future__ import annotations

from pathlib import Path

from ai_how.serving.engines.model import Launch, Readiness, ServeRequest

_SERVER = Path(__file__).with_name("llama_cpp_server.py")
_GGUF = b"GGUF"


class LlamaCpp:
    """The engine ``llama.cpp``: GGUF files, on the CPU or on GPUs."""

    name = "llama.cpp"
    runtime = "llama-cpp"
    libraries = ("libgomp.so.1",)

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        if head[:4] == _GGUF:
            return None
        return (
            f"{request.path.name} is no GGUF file; `ai-how models convert` makes one of a Hugging Face folder"
        )

    def launch(self, request: ServeRequest, python: Path) -> Launch:
        argv = (
            str(python),
            # Isolated: neither the user's own packages nor the working folder may get in between.
            "-I",
            f"{{folder}}/{_SERVER.name}",
            "--model",
            str(request.path),
            "--alias",
            request.model,
            "--address-file",
            "{address_file}",
            "--context",
            str(request.context),
            "--slots",
            str(request.slots),
            "--threads",
            str(request.threads),
            "--gpu-layers",
            str(request.gpu_layers),
        )
        return Launch(
            argv=argv,
            readiness=Readiness(path="/v1/models", list_key="data", name_key="id", refuses_strangers=True),
            secret_variable="AI_HOW_REPLICA_SECRET",
            files=(_SERVER,),
        )
