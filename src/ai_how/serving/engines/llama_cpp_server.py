"""The llama.cpp engine as a process. Runs on the compute node, in the ``llama-cpp`` runtime environment.

Standard library and xllamacpp only: AI-HOW is not installed there. The server takes a free port
itself and writes ``host:port`` into the address file, so the port is never free between choice and use.
It ends by SIGINT and not by SIGTERM, which Slurm sends to all of a job: the launcher decides when.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from types import ModuleType
from typing import Any


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the GGUF file")
    parser.add_argument("--alias", required=True, help="the name that clients ask for")
    parser.add_argument(
        "--address-file", required=True, help="where to write host:port once the model is loaded"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--context", type=int, default=2048, help="tokens for each request")
    parser.add_argument("--slots", type=int, default=2, help="requests at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpu-layers", type=int, default=0)
    return parser.parse_args()


def parameters(xllamacpp: ModuleType, asked: argparse.Namespace, secret: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = asked.model
    params.model_alias = {asked.alias}
    params.hostnames = [asked.host]
    params.port = 0
    params.reuse_port = False
    params.api_keys = [secret]
    # llama.cpp divides the context among the slots.
    params.n_ctx = asked.context * asked.slots
    params.n_parallel = asked.slots
    params.cpuparams.n_threads = asked.threads
    params.cpuparams_batch.n_threads = asked.threads
    params.n_gpu_layers = asked.gpu_layers
    params.ui = False
    params.endpoint_metrics = True
    params.endpoint_slots = False  # it would show what others ask
    params.offline = True
    # Vectors beside text: a chat model that names no way of its own to make one vector of many takes the mean.
    params.embedding = True
    if not names_pooling(asked.model):
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return params


def names_pooling(path: str) -> bool:
    """Whether a GGUF file says how its vectors are made. Such keys come first, before the tokenizer's lists."""
    with open(path, "rb") as file:
        return b".pooling_type" in file.read(65536)


def publish(path: str, address: str) -> None:
    draft = f"{path}.part"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(address)
    os.replace(draft, path)


def main() -> int:
    asked = arguments()
    # Out of the environment at once, so that no child of ours inherits it.
    secret = os.environ.pop("AI_HOW_REPLICA_SECRET", "")
    if not secret:
        print("AI_HOW_REPLICA_SECRET is not set: refusing to serve without a secret", file=sys.stderr)
        return 78
    # Blocked before llama.cpp starts its threads, which inherit the mask: the signal waits for sigwait below.
    ends = {signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    xllamacpp = importlib.import_module("xllamacpp")
    try:
        server = xllamacpp.Server(parameters(xllamacpp, asked, secret))
    except RuntimeError as error:
        print(f"llama.cpp did not start: {error}", file=sys.stderr)
        return 1
    publish(asked.address_file, server.listening_address.removeprefix("http://"))
    signal.sigwait(ends)
    del server
    return 0


if __name__ == "__main__":
    sys.exit(main())
