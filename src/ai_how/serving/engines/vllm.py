"""The engine ``vllm``: vLLM's server, for Hugging Face folders on GPUs. Pure.

Sources: vLLM's documentation of its server's arguments, environment variables and metrics. The API key that vLLM knows
protects what is under /v1 and nothing else (its own page on security says so), so the guard stands in front of it.
"""

from __future__ import annotations

from ai_how.serving.engines.guard import GUARD_FILES, GUARD_SECRET, guarded
from ai_how.serving.engines.model import GpuUse, Launch, LoadPage, ModelKind, Readiness, ServeRequest
from ai_how.serving.engines.place import Place
from ai_how.serving.engines.transformers import folder_fault

_KEY = "VLLM_API_KEY"


class Vllm:
    """Hugging Face folders, quantised ones too; over several GPUs of a node each layer is divided among them."""

    name = "vllm"
    runtime = None
    libraries: tuple[str, ...] = ()
    loads: tuple[ModelKind, ...] = ("folder",)

    def gpus(self, place: Place) -> GpuUse:
        return "needs"

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        return folder_fault(request, head)

    def launch(self, request: ServeRequest, place: Place) -> Launch:
        environment = {
            "HF_HOME": "{folder}/hf",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "VLLM_NO_USAGE_STATS": "1",
            # Its own processes find each other on loopback: all are on this node, and maybe in a network of their own.
            "VLLM_HOST_IP": "127.0.0.1",
            "NCCL_SOCKET_IFNAME": "lo",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        words = (
            "serve", str(request.path), "--served-model-name", request.model,
            "--host", "{engine_host}", "--port", "{engine_port}",
            "--max-model-len", str(request.context), "--max-num-seqs", str(request.slots),
            "--tensor-parallel-size", str(max(1, request.devices)),
        )  # fmt: skip
        argv = place.command(
            "vllm", words, binds=("{folder}", str(request.path)), variables=(*environment, _KEY),
            gpu=request.devices > 0,
        )  # fmt: skip
        return Launch(
            argv=guarded(argv, place, engine_secret=_KEY),
            readiness=Readiness(
                path="/v1/models", list_key="data", name_key="id", refuses_strangers=True, timeout=1800.0
            ),
            environment=environment,
            secret_variable=GUARD_SECRET,
            files=GUARD_FILES,
            load=LoadPage(
                "/metrics", running="vllm:num_requests_running", waiting="vllm:num_requests_waiting",
                cache="vllm:kv_cache_usage_perc",
            ),
            end_signal="INT",
        )  # fmt: skip
