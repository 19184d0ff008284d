"""How much memory a replica needs, by engine. Pure.

llama.cpp's formulas, which Ollama shares, are held by a test against what its own log says:

- cache: cells x layers x (keys + values) x 2 bytes, where every request has a cell a token, rounded up to 256
  (``src/llama-kv-cache.cpp``, ``src/llama-context.cpp``). A model with a sliding window needs less.
- compute: 512 tokens at once (``n_ubatch``), for each the scores of the whole vocabulary and its vector, or the
  feed-forward part, whichever is more, in 32 bits; and the mask of 512 tokens against the context, in 16 bits.
- runtime: what a process has before it has loaded anything; on a GPU, CUDA's context and its libraries' workspace.
  Both are estimates.

vLLM's are after its documentation (its page on conserving memory, and the arguments of its engine), and were never
held against one that runs: it takes ``gpu_memory_utilization`` (0.9) of a device's memory whatever the model needs; in
that must fit the weights, the working memory of ``max_num_batched_tokens`` (8192 for large devices, less for others) in
16 bits with the scores of each request in 32, what CUDA's graphs keep, and at least the cache for the context asked
for, in blocks of 16 tokens. Each layer is divided among devices, so the heads must divide by their number.

transformers keeps the cache of each request as it grows, and works on a whole prompt at once. What PyTorch takes for
itself is an estimate, too.
"""

from __future__ import annotations

import math

from ai_how.serving.fit.model import Need, Shape

_BATCH = 512
_CPU_RUNTIME = 200_000_000
_GPU_RUNTIME = 600_000_000
_TORCH_CPU_RUNTIME = 1_000_000_000
_TORCH_GPU_RUNTIME = 1_000_000_000
_VLLM_TOKENS = 8192
_VLLM_GRAPHS = 1_000_000_000
_VLLM_SHARE = 0.9
#: The cache is given out in pieces of so many tokens.
_CELLS = {"vllm": 16, "transformers": 1}


def need(shape: Shape, context: int, slots: int, *, gpu: bool, engine: str = "llama.cpp") -> Need:
    """The memory of one replica that answers ``slots`` requests at once, each with ``context`` tokens."""
    piece = _CELLS.get(engine, 256)
    cells = math.ceil(context / piece) * piece
    cache = cells * slots * sum(shape.cache) * 2
    widest = 2 * shape.inner + 8 * shape.width
    if engine == "vllm":
        compute = _VLLM_TOKENS * widest * 2 + slots * shape.vocabulary * 8
        return Need(shape.weights, cache, compute, _GPU_RUNTIME + _VLLM_GRAPHS)
    if engine == "transformers":
        compute = context * widest * 2 + slots * shape.vocabulary * 8
        return Need(shape.weights, cache, compute, _TORCH_GPU_RUNTIME if gpu else _TORCH_CPU_RUNTIME)
    compute = _BATCH * max(shape.vocabulary + shape.width, widest) * 4 + _BATCH * cells * 2
    return Need(shape.weights, cache, compute, _GPU_RUNTIME if gpu else _CPU_RUNTIME)


def share(engine: str) -> float:
    """The part of a device's memory that an engine lets itself have."""
    return _VLLM_SHARE if engine == "vllm" else 1.0


def divides_layers(engine: str) -> bool:
    """Whether several devices have a part of each layer, and not some layers each."""
    return engine == "vllm"
