"""llama.cpp: by the HTTP server that the Python package xllamacpp carries, or its own `llama-server`. Pure."""

from __future__ import annotations

from pathlib import Path

from ai_how.serving.engines.guard import GUARD_FILES, GUARD_SECRET, guarded
from ai_how.serving.engines.model import GpuUse, Launch, LoadPage, ModelKind, Readiness, ServeRequest
from ai_how.serving.engines.place import Place

_SERVER = Path(__file__).with_name("llama_cpp_server.py")
_GGUF = b"GGUF"
_READINESS = Readiness(path="/v1/models", list_key="data", name_key="id", refuses_strangers=True)
_LOAD = LoadPage("/metrics", running="llamacpp:requests_processing", waiting="llamacpp:requests_deferred")


class LlamaCpp:
    """The engine ``llama.cpp``: GGUF files, on the CPU or on GPUs.

    In a kept environment it is a script over xllamacpp, which takes its own port; elsewhere ``llama-server``, behind
    the guard.
    """

    name = "llama.cpp"
    runtime = "llama-cpp"
    libraries = ("libgomp.so.1",)
    loads: tuple[ModelKind, ...] = ("gguf",)

    def gpus(self, place: Place) -> GpuUse:
        # The package of the kept environment is built for CPUs.
        return "never" if place.has_python else "can"

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        if head[:4] == _GGUF:
            return None
        return (
            f"{request.path.name} is no GGUF file; `ai-how models convert` makes one of a Hugging Face folder"
        )

    def launch(self, request: ServeRequest, place: Place) -> Launch:
        if place.has_python:
            return self._script(request, place)
        return self._program(request, place)

    def _script(self, request: ServeRequest, place: Place) -> Launch:
        words = {
            "--model": str(request.path),
            "--alias": request.model,
            "--host": "{listen}",
            "--address-file": "{address_file}",
            "--context": str(request.context),
            "--slots": str(request.slots),
            "--threads": str(request.threads),
            "--gpu-layers": str(request.gpu_layers),
        }
        # Isolated: neither the user's own packages nor the working folder may get in between.
        argv = (place.python, "-I", f"{{folder}}/{_SERVER.name}")
        return Launch(
            argv=(*argv, *(word for pair in words.items() for word in pair)),
            readiness=_READINESS,
            secret_variable=GUARD_SECRET,
            files=(_SERVER,),
            load=_LOAD,
            end_signal="INT",
        )

    def _program(self, request: ServeRequest, place: Place) -> Launch:
        # llama.cpp divides the context among the slots.
        words = (
            "--model", str(request.path), "--alias", request.model, "--host", "{engine_host}",
            "--port", "{engine_port}", "--ctx-size", str(request.context * request.slots),
            "--parallel", str(request.slots), "--threads", str(request.threads),
            "--n-gpu-layers", str(request.gpu_layers), "--metrics", "--no-slots", "--offline",
        )  # fmt: skip
        variables = ("LLAMA_API_KEY",)
        argv = place.command(
            "llama-server",
            words,
            binds=(str(request.path.parent),),
            variables=variables,
            gpu=request.devices > 0,
        )
        return Launch(
            argv=guarded(argv, place, engine_secret="LLAMA_API_KEY"),
            readiness=_READINESS,
            secret_variable=GUARD_SECRET,
            files=GUARD_FILES,
            load=_LOAD,
            end_signal="INT",
        )
