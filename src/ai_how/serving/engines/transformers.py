"""The engine ``transformers``: Hugging Face's own ``transformers serve``, for whatever model it can load. Pure."""

from __future__ import annotations

import json
from pathlib import Path

from ai_how.serving.engines.guard import GUARD_SECRET
from ai_how.serving.engines.model import GpuUse, Launch, LoadPage, ModelKind, Readiness, ServeRequest
from ai_how.serving.engines.place import Place

_SERVER = Path(__file__).with_name("transformers_server.py")


class Transformers:
    """Hugging Face folders, as they are; no embeddings. It asks for the secret itself, in a script of ours."""

    name = "transformers"
    runtime = "transformers"
    libraries: tuple[str, ...] = ()
    loads: tuple[ModelKind, ...] = ("folder",)

    def gpus(self, place: Place) -> GpuUse:
        return "can"

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        return folder_fault(request, head)

    def launch(self, request: ServeRequest, place: Place) -> Launch:
        environment = {
            # What it keeps for itself is the replica's own; the model's folder is only read.
            "HF_HOME": "{folder}/hf",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "OMP_NUM_THREADS": str(request.threads),
            "TOKENIZERS_PARALLELISM": "false",
        }
        words = [
            "-I", f"{{folder}}/{_SERVER.name}", "--model", str(request.path), "--alias", request.model,
            "--host", "{listen}", "--address-file", "{address_file}", "--threads", str(request.threads),
            "--device", "auto" if request.devices else "cpu",
        ]  # fmt: skip
        if request.devices:
            words.append("--batching")
        argv = place.command(
            "python3", words, binds=("{folder}", str(request.path)), variables=(*environment, GUARD_SECRET),
            gpu=request.devices > 0,
        )  # fmt: skip
        return Launch(
            argv=argv,
            readiness=Readiness(path="/v1/models", list_key="data", name_key="id", refuses_strangers=True),
            environment=environment,
            secret_variable=GUARD_SECRET,
            files=(_SERVER,),
            load=LoadPage("/metrics", running="ai_how_transformers_running"),
            end_signal="INT",
        )


def folder_fault(request: ServeRequest, head: bytes) -> str | None:
    """Why a model is no Hugging Face folder of a model that writes text; None when it is, or nobody has looked."""
    if not head:
        return None
    try:
        config = json.loads(head)
    except ValueError:
        config = None
    if not isinstance(config, dict) or not config.get("architectures"):
        return f"{request.path.name} is no Hugging Face folder: its config.json names no architecture"
    return None
