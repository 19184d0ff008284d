"""Types that travel between a client, the gateway and the replicas. Pure: no input, no output."""

from ai_how.wire.endpoint import MODEL_NAME, RECORD_VERSION, EndpointRecord, EngineLoad
from ai_how.wire.openai import (
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    ErrorBody,
    ErrorEnvelope,
    FaultSource,
    ModelCard,
    ModelList,
    ModelState,
    ResponsesRequest,
)
from ai_how.wire.routes import Demand, ModelDemand, ModelRoute, ReplicaRoute, Routes

__all__ = [
    "MODEL_NAME",
    "RECORD_VERSION",
    "ChatMessage",
    "ChatRequest",
    "CompletionRequest",
    "Demand",
    "EmbeddingsRequest",
    "EndpointRecord",
    "EngineLoad",
    "ErrorBody",
    "ErrorEnvelope",
    "FaultSource",
    "ModelCard",
    "ModelDemand",
    "ModelList",
    "ModelRoute",
    "ModelState",
    "ReplicaRoute",
    "ResponsesRequest",
    "Routes",
]
