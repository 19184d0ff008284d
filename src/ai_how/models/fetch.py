"""Brings models into the store: from the Hugging Face hub, and from Ollama's library."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from ai_how.errors import AiHowError, CommandFailed, NotFound
from ai_how.models.source import InLibrary, OnHub
from ai_how.models.store import OLLAMA_HOST, Store, ollama_manifest
from ai_how.run import Command, Gate
from ai_how.run.files import drafted, write_whole

_SCRIPT = Path(__file__).with_name("hub_fetch.py")
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DIGEST = "sha256:"
_PIECE = 2**20

Say = Callable[[str], None]


def fetch_hub(gate: Gate, python: Path, store: Store, source: OnHub, say: Say) -> Path:
    """The folder of a repository, fetched when no store has it; the commit it is of is remembered.

    ``python`` has huggingface_hub. Raises :class:`NotFound` when it may not or cannot be fetched.
    """
    found = store.find_hub(source)
    if found is not None:
        return found
    what = f"{source.repo} at {source.revision}"
    if _offline(os.environ):
        raise NotFound(
            f"no store has {what}, and the hub is not asked",
            cause="HF_HUB_OFFLINE is set",
            todo="Unset it where there is a network, or copy the store of a machine that has the model.",
        )
    say(f"fetching {what} from the hub")
    words = [
        source.repo,
        source.revision,
        str(store.draft_hub(source)),
        *([source.file] if source.file else []),
    ]
    env = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "DO_NOT_TRACK": "1"}
    try:
        done = gate.run(Command((str(python), "-I", str(_SCRIPT), *words), env=env, timeout=86400.0))
    except CommandFailed as error:
        raise NotFound(
            f"{what} could not be fetched from the hub",
            cause="this machine does not reach the hub, or there is no such repository, or it wants a token",
            todo="See what the hub says; HF_TOKEN and HF_ENDPOINT are handed to it.",
            detail=error.detail,
        ) from error
    return store.keep_hub(source, done.stdout.strip())


def fetch_ollama(
    store: Store, source: InLibrary, say: Say, *, address: str = f"https://{OLLAMA_HOST}"
) -> Path:
    """The manifest of a model of Ollama's library, fetched with all its parts when no store has it.

    Each part is checked against its digest; the manifest is written last. Raises :class:`NotFound` when it cannot be
    fetched, :class:`AiHowError` when a part is not what its digest says.
    """
    found = store.find_ollama(source)
    if found is not None:
        return found
    if _offline(os.environ):
        raise NotFound(
            f"no store has {source.served}, and Ollama's library is not asked",
            cause="HF_HUB_OFFLINE is set",
            todo="Unset it where there is a network, or copy the store of a machine that has the model.",
        )
    root = store.own / "ollama"
    base = f"{address}/v2/{source.space}/{source.name}"
    try:
        with httpx.Client(follow_redirects=True, timeout=60.0) as client:
            answer = client.get(f"{base}/manifests/{source.tag}", headers={"accept": _MANIFEST})
            answer.raise_for_status()
            manifest = answer.json()
            for part in _parts(manifest):
                _blob(client, base, root / "blobs", part, say)
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise NotFound(
            f"{source.served} could not be fetched from Ollama's library",
            where=base,
            cause="this machine does not reach it, or there is no such model or tag, or the disk is full",
            detail=str(error),
        ) from error
    target = ollama_manifest(root, source)
    write_whole(target, json.dumps(manifest), mode=0o444)
    return target


def _parts(manifest: Any) -> list[Mapping[str, Any]]:
    try:
        parts = [manifest["config"], *manifest["layers"]]
        if all(part["digest"].startswith(_DIGEST) and part["digest"][7:].isalnum() for part in parts):
            return parts
    except (KeyError, TypeError, AttributeError):
        pass
    raise ValueError("what came is no manifest of Ollama's")


def _blob(client: httpx.Client, base: str, folder: Path, part: Mapping[str, Any], say: Say) -> None:
    """One part of a model, into the store. What is there already has the right content: it is named by it."""
    digest = str(part["digest"])
    target = folder / digest.replace(":", "-")
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    say(f"fetching {int(part.get('size', 0)) / 1e6:.0f} MB of {base.rpartition('/')[2]}")
    digester = hashlib.sha256()
    # A draft of its own: of two who fetch the same, neither must keep under its digest what the other cut off.
    with client.stream("GET", f"{base}/blobs/{digest}") as answer, drafted(target, mode=0o444) as file:
        answer.raise_for_status()
        for piece in answer.iter_bytes(_PIECE):
            digester.update(piece)
            file.write(piece)
        if digester.hexdigest() != digest.removeprefix(_DIGEST):
            raise AiHowError(
                f"a part of the model is not what its digest says: {digest[:19]}...",
                where=base,
                todo="Do the same again; when it stays so, do not use this model.",
            )


def _offline(environment: Mapping[str, str]) -> bool:
    return environment.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
