#!/bin/sh
# Pins the runtime environments of jobs and engines: torch.txt, oumi.txt, transformers.txt, llama-cpp.txt,
# retrieval.txt and, for PyTorch's CUDA build, cuda.txt.
#
# Those with PyTorch hold its CPU build, found through PIP_FIND_LINKS. For the registry's CUDA build, cuda.txt takes
# the place of their line for torch. torchvision has no CPU build in the registry and breaks transformers: left out.
set -eu
cd "$(dirname "$0")"
pin() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
        --no-emit-index-url --no-emit-find-links "$@"
}
# Requirements with their hashes whose names match a pattern; those whose names do not.
with() { awk -v name="^($1)==" '/^[A-Za-z]/ { on = ($0 ~ name) } on'; }
without() { awk -v name="^($1)==" '/^[A-Za-z]/ { on = ($0 !~ name) } on'; }

cuda='nvidia-.*|cuda-.*|triton'
echo torch==2.13.0 | pin - | with "torch|$cuda" >cuda.txt
for name in torch oumi transformers; do
    if [ -f "$name.override" ]; then set -- --override "$name.override"; else set --; fi
    pinned=$(pin --find-links "$PIP_FIND_LINKS" "$@" "$name.in")
    {
        printf '%s\n' "$pinned" | without "torch|torchvision|$cuda"
        printf '%s\n' "$pinned" | awk '/^[A-Za-z]/ { on = /^torch==.*\+cpu/; sub(/ ;.*/, " \\") } on'
    } >"$name.txt"
done
pin llama-cpp.in >llama-cpp.txt
pin retrieval.in >retrieval.txt
