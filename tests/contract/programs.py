"""Places that hold a fake `ollama` or `vllm`, and the models that they load."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from ai_how.serving.engines import Place

RECORDED = Path(__file__).parent.parent / "recorded"
VERSIONS = {name: sorted(p for p in (RECORDED / name).iterdir() if p.is_dir()) for name in ("ollama", "vllm")}


def fake_place(folder: Path, name: str, python: str = sys.executable) -> Place:
    """A folder with ``bin/NAME`` and all that it needs; ``python`` runs it, and the launcher."""
    program = folder / "bin" / name
    program.parent.mkdir(parents=True, exist_ok=True)
    script = Path(shutil.copy(Path(__file__).with_name("fake_program.py"), folder))
    shutil.copytree(VERSIONS[name][-1], folder / "recorded")
    program.write_text(f'#!/bin/sh\nexec {python} -I {script} {name} {folder}/recorded "$@"\n')
    program.chmod(0o755)
    return Place(python=python, at=str(folder))


def write_ollama_store(store: Path, name: str = "tiny", tag: str = "latest") -> Path:
    """A store with one model that nobody may write to; the path of its manifest."""
    blobs = store / "blobs"
    blobs.mkdir(parents=True)

    def blob(kind: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        path = blobs / f"sha256-{digest}"
        path.write_bytes(data)
        path.chmod(0o444)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.ollama.image"
    manifest = store / "manifests/registry.ollama.ai/library" / name / tag
    manifest.parent.mkdir(parents=True)
    facts = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": blob("application/vnd.docker.container.image.v1+json", b'{"model_format":"gguf"}'),
        "layers": [blob(f"{kind}.model", b"GGUF and more"), blob(f"{kind}.params", b'{"num_ctx":256}')],
    }
    manifest.write_text(json.dumps(facts))
    manifest.chmod(0o444)
    blobs.chmod(0o555)
    return manifest
