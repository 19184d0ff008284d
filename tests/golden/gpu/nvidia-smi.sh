#!/bin/sh
# Rendered by ai-how from cluster.yaml. Run as root, with no work on these devices.
set -eu

# GPU-0, NVIDIA A100 80GB at 0000:65:00.0: 6 x 1g.10gb, 1 x 1g.10gb+me
nvidia-smi -i 0000:65:00.0 -mig 1
# If it says that a reset is pending: nvidia-smi --gpu-reset -i 0000:65:00.0
nvidia-smi mig -i 0000:65:00.0 -cgi 19:0,19:1,19:2,20:3,19:4,19:5,19:6 -C
nvidia-smi mig -i 0000:65:00.0 -lgi

# GPU-1, NVIDIA A100-SXM4-80GB at 0000:ca:00.0: 1 x 2g.20gb, 1 x 3g.40gb
nvidia-smi -i 0000:ca:00.0 -mig 1
# If it says that a reset is pending: nvidia-smi --gpu-reset -i 0000:ca:00.0
# These must go, others stay; `nvidia-smi mig -lgi` shows the id of each, for -dci -gi and -dgi -gi:
#   1g.10gb at 0
# Only then is there room for what comes next.
[ "${DESTROYED:-}" = yes ] || { echo "destroy those first, then run with DESTROYED=yes" >&2; exit 1; }
nvidia-smi mig -i 0000:ca:00.0 -cgi 14:0 -C
nvidia-smi mig -i 0000:ca:00.0 -lgi

# GPU-2, NVIDIA RTX PRO 6000 Blackwell Server Edition at 0001:01:00.0: 1 x 1g.24gb, 1 x 2g.48gb
nvidia-smi -i 0001:01:00.0 -mig 1
nvidia-smi mig -i 0001:01:00.0 -cgi 5:0,14:9 -C
nvidia-smi mig -i 0001:01:00.0 -lgi

# GPU-5, NVIDIA H100 80GB HBM3 at 0001:04:00.0: as a whole
nvidia-smi -i 0001:04:00.0 -mig 0
