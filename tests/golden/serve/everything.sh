#!/bin/bash
#SBATCH --job-name=serve-HuggingFaceTB-SmolLM-135M
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --gres=gpu:a100:1
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --qos=high
#SBATCH --time=1-00:00:00
#SBATCH --chdir="/srv/ada's site/share/replicas/abababab"
#SBATCH --output="/srv/ada's site/log/jobs/serve-HuggingFaceTB-SmolLM-135M-%j.log"
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
#SBATCH --no-requeue

# A notice that comes before the launcher listens must not end it.
trap '' USR1
set -eu
umask 077
export DO_NOT_TRACK=1 HF_HUB_DISABLE_TELEMETRY=1 NO_PROXY=127.0.0.1,localhost
# The launcher takes the place of this shell, so Slurm's signals reach it at once.
exec /home/ada/.local/share/ai-how/envs/llama-cpp-0123/bin/python -I '/srv/ada'"'"'s site/share/replicas/abababab/replica_launcher.py' '/srv/ada'"'"'s site/share/replicas/abababab/launch.json'
