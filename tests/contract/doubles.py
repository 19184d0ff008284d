"""The fake engine, as the serving room sees an engine."""

from __future__ import annotations

from pathlib import Path

from ai_how.serving.engines import GpuUse, Launch, LoadPage, ModelKind, Place, Readiness, ServeRequest

RECORDED = Path(__file__).parent.parent / "recorded" / "llama.cpp" / "2026.10"


class FakeEngine:
    """Satisfies the protocol with a process of the tests; it is given its port, as Ollama and vLLM are."""

    name = "fake"
    runtime = "none"
    libraries = ()
    loads: tuple[ModelKind, ...] = ("gguf",)

    def gpus(self, place: Place) -> GpuUse:
        return "never"

    def fault(self, request: ServeRequest, head: bytes) -> str | None:
        return None if head[:4] == b"GGUF" else "no GGUF file"

    def launch(self, request: ServeRequest, place: Place) -> Launch:
        script = Path(__file__).with_name("fake_engine.py")
        argv = (place.python, f"{{folder}}/{script.name}", "--recorded", str(RECORDED))
        return Launch(
            argv=(*argv, "--model", str(request.path), "--port", "{port}"),
            readiness=Readiness("/v1/models", "data", "id", refuses_strangers=True),
            secret_variable="FAKE_SECRET",
            files=(script,),
            load=LoadPage("/metrics", running="llamacpp:requests_processing"),
        )


class ToolEngine(FakeEngine):
    """The engine that calls tools by a script."""

    def launch(self, request: ServeRequest, place: Place) -> Launch:
        script = Path(__file__).with_name("tool_engine.py")
        return Launch(
            argv=(place.python, f"{{folder}}/{script.name}", "{port}"),
            readiness=Readiness("/v1/models", "data", "id", refuses_strangers=True),
            secret_variable="FAKE_SECRET",
            files=(script,),
        )
