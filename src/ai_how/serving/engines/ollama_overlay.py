"""Makes a private folder of models for one Ollama, of links into a store that it only reads.

Runs on the compute node before the engine, by the launcher's Python, 3.9 or newer; standard library only. The model
gets the name that clients ask for. What Ollama writes (and would delete) are links and files of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HOST = "registry.ollama.ai"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="the model's manifest in the store")
    parser.add_argument("--name", required=True, help="the name that clients ask for")
    parser.add_argument("--into", type=Path, required=True, help="the private folder")
    return parser.parse_args()


def manifest_path(name: str) -> Path:
    """Where a model of that name has its manifest in a folder of models."""
    rest, _, tag = name.partition(":")
    namespace, _, model = rest.rpartition("/")
    return Path("manifests", HOST, namespace or "library", model, tag or "latest")


def main() -> int:
    asked = arguments()
    try:
        told = json.loads(asked.manifest.read_text(encoding="utf-8"))
        digests = [layer["digest"] for layer in (told["config"], *told["layers"])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"failed to load model: {asked.manifest} cannot be used ({error})", file=sys.stderr)
        return 1
    # STORE/manifests/HOST/NAMESPACE/MODEL/TAG
    blobs = asked.manifest.parents[4] / "blobs"
    (asked.into / "blobs").mkdir(parents=True, exist_ok=True)
    for digest in digests:
        blob = blobs / digest.replace(":", "-")
        if not blob.is_file():
            print(f"failed to load model: the store lacks {blob.name}", file=sys.stderr)
            return 1
        link = asked.into / "blobs" / blob.name
        if not link.is_symlink():
            link.symlink_to(blob)
    target = asked.into / manifest_path(asked.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(told), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
