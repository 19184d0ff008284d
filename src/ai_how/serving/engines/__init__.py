"""The engines: programs that serve a model. Each is one module that satisfies :class:`Engine`."""

from ai_how.errors import NotFound
from ai_how.serving.engines.llama_cpp import LlamaCpp
from ai_how.serving.engines.look import read_head
from ai_how.serving.engines.model import Engine, GpuUse, Launch, LoadPage, ModelKind, Readiness, ServeRequest
from ai_how.serving.engines.ollama import Ollama
from ai_how.serving.engines.place import Place, place_of
from ai_how.serving.engines.transformers import Transformers
from ai_how.serving.engines.vllm import Vllm

__all__ = [
    "ENGINES",
    "Engine",
    "GpuUse",
    "Launch",
    "LlamaCpp",
    "LoadPage",
    "ModelKind",
    "Ollama",
    "Place",
    "Readiness",
    "ServeRequest",
    "Transformers",
    "Vllm",
    "find_engine",
    "place_of",
    "read_head",
]

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (LlamaCpp(), Ollama(), Transformers(), Vllm())
}


def find_engine(name: str) -> Engine:
    """The engine of that name. Raises :class:`NotFound` naming those there are."""
    try:
        return ENGINES[name]
    except KeyError:
        raise NotFound(
            f"there is no engine called {name!r}", todo=f"These exist: {', '.join(sorted(ENGINES))}."
        ) from None
