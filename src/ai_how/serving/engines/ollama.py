"""The engine ``ollama``: models of Ollama's library, by its own server. Pure.

Sources: Ollama's documentation of its environment variables and its API. It knows no secrets and may load, create and
delete models for whoever reaches it: the guard stands in front, and its models are links to a store that it cannot
write to.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ai_how.serving.engines.guard import GUARD_FILES, GUARD_LOAD, GUARD_SECRET, guarded
from ai_how.serving.engines.model import GpuUse, Launch, ModelKind, Readiness, ServeRequest
from ai_how.serving.engines.place import Place

_OVERLAY = Path(__file__).with_name("ollama_overlay.py")
_NAME = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9][A-Za-z0-9._-]*)?$"
)


class Ollama:
    """Models in a store of Ollama's, each named by the path of its manifest."""

    name = "ollama"
    runtime = None
    libraries: tuple[str, ...] = ()
    loads: tuple[ModelKind, ...] = ("ollama",)

    def gpus(self, place: Place) -> GpuUse:
        return "can"

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        if not _NAME.match(request.model):
            return f"{request.model} cannot name a model of Ollama's: it has the form NAMESPACE/NAME:TAG"
        if head and b"schemaVersion" not in head:
            return f"{request.path.name} is no manifest of Ollama's; give ollama:NAME:TAG"
        return None

    def launch(self, request: ServeRequest, place: Place) -> Launch:
        environment = {
            "OLLAMA_HOST": "{engine_host}:{engine_port}",
            "OLLAMA_MODELS": "{folder}/models",
            # What it keeps for itself, a key and its history, is the replica's own.
            "HOME": "{folder}",
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_NUM_PARALLEL": str(request.slots),
            "OLLAMA_CONTEXT_LENGTH": str(request.context),
            "OLLAMA_MAX_LOADED_MODELS": "1",
            "OLLAMA_NOPRUNE": "1",
        }
        store = request.path.parents[4]
        argv = place.command(
            "ollama", ("serve",), binds=("{folder}", str(store)), variables=tuple(environment),
            home="{folder}",
            gpu=request.devices > 0,
        )  # fmt: skip
        overlay = ("{python}", "-I", f"{{folder}}/{_OVERLAY.name}", "--manifest", str(request.path))
        asked = {"model": request.model, "keep_alive": -1, "stream": False}
        return Launch(
            argv=guarded(argv, place),
            readiness=Readiness(
                path="/api/tags", list_key="models", name_key="name", refuses_strangers=True, timeout=1800.0,
                warm=(
                    ("/api/generate", json.dumps(asked)),
                    ("/api/embed", json.dumps({"model": request.model, "keep_alive": -1, "input": "a"})),
                ),
            ),
            environment=environment,
            secret_variable=GUARD_SECRET,
            files=(*GUARD_FILES, _OVERLAY),
            prepare=((*overlay, "--name", request.model, "--into", "{folder}/models"),),
            load=GUARD_LOAD,
            end_signal="INT",
        )  # fmt: skip
