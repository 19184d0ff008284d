#!/bin/sh
# Rendered by ai-how from cluster.yaml. Run as root, with no work on these devices.
set -eu

# GPU-0, NVIDIA A100 80GB at 0000:65:00.0: 7 x 1g.10gb
nvidia-smi -i 0000:65:00.0 -mig 1
# If it says that a reset is pending: nvidia-smi --gpu-reset -i 0000:65:00.0
nvidia-smi mig -i 0000:65:00.0 -cgi 19:0,19:1,19:2,19:3,19:4,19:5,19:6 -C
nvidia-smi mig -i 0000:65:00.0 -lgi
