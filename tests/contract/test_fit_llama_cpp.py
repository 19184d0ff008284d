"""The formulas of fit, against what llama.cpp's own log says that it takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tiny_gguf import write_tiny_gguf

from ai_how.serving.fit import need, read_shape

MIB = 2**20
LOAD = """
import os, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
params.hostnames, params.port, params.offline, params.warmup, params.ui = ["127.0.0.1"], 0, True, False, False
params.verbosity = 10
server = xllamacpp.Server(params)
os._exit(0)
"""


@pytest.mark.parametrize(("context", "slots"), [(512, 1), (500, 2), (4096, 1), (1024, 4)])
def test_what_is_foretold_is_what_llama_cpp_takes(
    llama_python: Path, tmp_path: Path, context: int, slots: int
) -> None:
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    words = [str(llama_python), "-I", "-c", LOAD, str(model), str(context * slots), str(slots)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    log = done.stdout + done.stderr
    cache = float(re.findall(r"llama_kv_cache: size = +([\d.]+) MiB", log)[-1])
    compute = float(re.findall(r"compute buffer size = +([\d.]+) MiB", log)[-1])
    foretold = need(read_shape(model), context, slots, gpu=False)
    assert foretold.cache / MIB == pytest.approx(cache, abs=0.01)
    assert compute - 0.1 <= foretold.compute / MIB <= compute + 1
