"""Fetches a repository of the Hugging Face hub at one commit: `python hub_fetch.py REPO REVISION FOLDER [FILE]`.

Runs in a runtime environment that has huggingface_hub (``transformers``). The address of the hub and a token come from
its own variables, HF_ENDPOINT and HF_TOKEN. Prints the commit.
"""

from __future__ import annotations

import sys
from importlib import import_module

#: Weights in other formats than safetensors take the disk twice, and pickles run code.
LEFT_OUT = [
    "*.bin",
    "*.pt",
    "*.pth",
    "*.msgpack",
    "*.h5",
    "*.onnx",
    "*.tflite",
    "original/*",
    "onnx/*",
    "*.gguf",
]


def main() -> int:
    repo, revision, folder, *files = sys.argv[1:]
    hub = import_module("huggingface_hub")
    try:
        commit = hub.HfApi().model_info(repo, revision=revision).sha
        chosen = {"allow_patterns": files} if files else {"ignore_patterns": LEFT_OUT}
        hub.snapshot_download(repo, revision=commit, local_dir=folder, **chosen)
    except Exception as error:  # noqa: BLE001 - what it raises is its HTTP client's, and that changes
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(commit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
